//! Does an engine answer? Asked with requests of the kind its users will make, not by open ports alone.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use chassis::kafka::{Settings, topics};

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(5);

/// Kafka can make a topic.
pub(crate) async fn kafka(address: &str, limit: Duration) -> Result<(), String> {
    // librdkafka logs an error for each refused connection, so the port comes first.
    connect(address).await?;
    topics::wait_ready(&Settings::new(address, "local-engines"), limit).await.map_err(|error| error.to_string())
}

/// The registry lists its subjects.
pub(crate) async fn registry(url: &str) -> Result<(), String> {
    let client = reqwest::Client::builder().timeout(LOOK).no_proxy().build().map_err(|error| error.to_string())?;
    let answer = client.get(format!("{}/subjects", url.trim_end_matches('/'))).send().await;
    let answer =
        answer.map_err(|error| if error.is_timeout() { "no answer in time".to_owned() } else { "no connection".to_owned() })?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(format!("GET /subjects answers {status}")) }
}

/// The CQL node answers a query. By hand, as a driver's session logs an error for each try and needs the whole driver.
pub(crate) async fn cql(address: &str) -> Result<(), String> {
    const VERSION: &[u8] = b"\x00\x01\x00\x0bCQL_VERSION\x00\x053.0.0";
    const QUERY: &[u8] = b"\x00\x00\x00\x1cSELECT key FROM system.local\x00\x01\x00";
    let look = async {
        let mut stream = connect(address).await?;
        exchange(&mut stream, 0x01, VERSION, 0x02).await?;
        exchange(&mut stream, 0x07, QUERY, 0x08).await
    };
    timeout(LOOK, look).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

/// Sends one frame of the CQL protocol version 4 and expects an answer with this operation code.
async fn exchange(stream: &mut TcpStream, operation: u8, body: &[u8], expected: u8) -> Result<(), String> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    let frame = [&[0x04, 0, 0, 0, operation][..], &length, body].concat();
    stream.write_all(&frame).await.map_err(|error| error.to_string())?;
    let mut header = [0_u8; 9];
    stream.read_exact(&mut header).await.map_err(|error| error.to_string())?;
    let [_, _, _, _, answered, length @ ..] = header;
    let rest = u64::from(u32::from_be_bytes(length));
    let mut sink = tokio::io::sink();
    tokio::io::copy(&mut stream.take(rest), &mut sink).await.map_err(|error| error.to_string())?;
    if answered == expected { Ok(()) } else { Err(format!("it does not speak CQL (operation {answered})")) }
}

/// A connection to the port.
pub(crate) async fn connect(address: &str) -> Result<TcpStream, String> {
    match timeout(LOOK, TcpStream::connect(address)).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(_) => Err("no connection in time".to_owned()),
    }
}
