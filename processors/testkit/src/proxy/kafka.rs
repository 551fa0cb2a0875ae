//! Kafka's frames: which request is which, and where an answer names the broker.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Api, Fault, Shared};

/// Larger frames are no Kafka.
const FRAME_MAX: usize = 128 << 20;
/// Answers that name brokers: Metadata, FindCoordinator, DescribeCluster.
const NAMING: [i16; 3] = [3, 10, 60];

/// Correlation ids of requests whose answer names brokers, or must not arrive.
type Asked = Mutex<HashMap<i32, Expected>>;

#[derive(Clone, Copy)]
enum Expected {
    Broker,
    Cut,
}

/// Serves one connection until it breaks.
pub(super) async fn serve(near: TcpStream, far: TcpStream, shared: &Arc<Shared>) {
    let asked = Asked::default();
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.into_split(), far.into_split());
    let there = requests(&mut from_near, &mut to_far, shared, &asked);
    let back = answers(&mut from_far, &mut to_near, shared, &asked);
    let late = tokio::select! { late = there => late.ok().flatten(), _ = back => None };
    drop((from_near, to_near));
    if let Some((frame, after)) = late {
        // the old connection to the broker is still there: the copy that was on its way arrives
        tokio::time::sleep(after).await;
        if write(&mut to_far, &frame).await.is_ok() {
            // the broker may refuse it; its answer has nobody to go to
            let _answer = read(&mut from_far).await;
        }
    }
}

type Late = Option<(Vec<u8>, std::time::Duration)>;

/// Hands requests on; ends with the copy that is to arrive late.
async fn requests(
    near: &mut (impl AsyncRead + Unpin),
    far: &mut (impl AsyncWrite + Unpin),
    shared: &Shared,
    asked: &Asked,
) -> io::Result<Late> {
    loop {
        let frame = read(near).await?;
        let (Some(api), Some(correlation)) = (number(&frame, 0), frame.get(4..8)) else { return Ok(None) };
        let correlation = i32::from_be_bytes([correlation[0], correlation[1], correlation[2], correlation[3]]);
        let expect = |expected| asked.lock().unwrap_or_else(PoisonError::into_inner).insert(correlation, expected);
        if NAMING.contains(&api) {
            expect(Expected::Broker);
        }
        if api == Api::TxnOffsetCommit as i16
            && let Some(unfenced) = unfenced(&frame)
        {
            shared.state().unfenced.push(unfenced);
        }
        let slow = shared.slow();
        if !slow.is_zero() {
            tokio::time::sleep(slow).await;
        }
        if let Some(until) = shared.held(api) {
            tokio::time::sleep_until(until.into()).await;
        }
        match shared.fault(api) {
            None => {}
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(Fault::CutBefore) => return Ok(None),
            Some(Fault::CutAfter) => {
                expect(Expected::Cut);
            }
            Some(Fault::LateCopy(after)) => return Ok(Some((frame, after))),
        }
        write(far, &frame).await?;
    }
}

async fn answers(
    far: &mut (impl AsyncRead + Unpin),
    near: &mut (impl AsyncWrite + Unpin),
    shared: &Shared,
    asked: &Asked,
) -> io::Result<()> {
    loop {
        let mut frame = read(far).await?;
        let Some(correlation) = frame.first_chunk::<4>() else { return Ok(()) };
        let expected = asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&i32::from_be_bytes(*correlation));
        match expected {
            None => {}
            Some(Expected::Broker) => rename(&mut frame, &shared.target, shared.port),
            Some(Expected::Cut) => return Ok(()),
        }
        write(near, &frame).await?;
    }
}

/// Replaces the broker's port by ours wherever its host and port stand side by side: a port has four bytes in every version.
fn rename(frame: &mut [u8], broker: &str, port: u16) {
    let Some((host, of)) = broker.rsplit_once(':').and_then(|(host, of)| Some((host, of.parse::<u16>().ok()?))) else { return };
    let mut pattern = host.as_bytes().to_vec();
    pattern.extend_from_slice(&u32::from(of).to_be_bytes());
    let mut at = 0;
    while let Some(found) = frame[at..].windows(pattern.len()).position(|window| window == pattern) {
        let end = at + found + pattern.len();
        frame[end - 4..end].copy_from_slice(&u32::from(port).to_be_bytes());
        at = end;
    }
}

/// What is missing in a TxnOffsetCommit that nothing would fence; none when it names a generation and a member.
/// Version 3 is the first that can name them, and its strings have lengths as variable integers, one more than they are.
fn unfenced(frame: &[u8]) -> Option<String> {
    let version = number(frame, 2)?;
    if version < 3 {
        return Some(format!("version {version} names no generation"));
    }
    let client = usize::try_from(number(frame, 8)?).unwrap_or(0);
    // tagged fields of the header, then transactional id and group
    let mut at = 10 + client + 1;
    for _ in 0..2 {
        at += text(frame, at)?.1;
    }
    // producer id and epoch
    at += 8 + 2;
    let generation = i32::from_be_bytes(*frame.get(at..)?.first_chunk::<4>()?);
    let (member, _) = text(frame, at + 4)?;
    (generation < 0 || member.is_empty()).then(|| format!("generation {generation}, member {member:?}"))
}

/// A compact string, and how many bytes it takes with its length.
fn text(frame: &[u8], at: usize) -> Option<(String, usize)> {
    let (mut length, mut bytes) = (0_usize, 0);
    loop {
        let byte = *frame.get(at + bytes)?;
        length |= usize::from(byte & 0x7f) << (7 * bytes);
        bytes += 1;
        if byte & 0x80 == 0 {
            break;
        }
        if bytes > 4 {
            return None;
        }
    }
    let length = length.saturating_sub(1);
    let text = frame.get(at + bytes..at + bytes + length)?;
    Some((String::from_utf8_lossy(text).into_owned(), bytes + length))
}

fn number(frame: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]))
}

async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await? as usize;
    if length > FRAME_MAX {
        return Err(io::Error::other("this is no kafka connection"));
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write(to: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let mut whole = Vec::with_capacity(4 + frame.len());
    whole.extend_from_slice(&u32::try_from(frame.len()).unwrap_or_default().to_be_bytes());
    whole.extend_from_slice(frame);
    to.write_all(&whole).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_is_renamed_wherever_it_is_named() {
        let mut frame = b"\0\0\0\x01\x0a127.0.0.1\0\0\x4a\x94rest\x0a127.0.0.1\0\0\x4a\x94".to_vec();
        rename(&mut frame, "127.0.0.1:19092", 5);
        assert_eq!(frame, b"\0\0\0\x01\x0a127.0.0.1\0\0\0\x05rest\x0a127.0.0.1\0\0\0\x05");
    }
    #[test]
    fn positions_without_generation_or_member_are_told() {
        let request = |generation: i32, member: &str| {
            let mut frame = b"\0\x1c\0\x03\0\0\0\x01\0\x02me\0\x04tid\x02g".to_vec();
            frame.extend_from_slice(&[0; 10]);
            frame.extend_from_slice(&generation.to_be_bytes());
            frame.push(u8::try_from(member.len()).unwrap() + 1);
            frame.extend_from_slice(member.as_bytes());
            frame
        };
        assert_eq!(unfenced(&request(3, "m-1")), None);
        assert_eq!(unfenced(&request(-1, "m-1")).as_deref(), Some("generation -1, member \"m-1\""));
        assert_eq!(unfenced(&request(3, "")).as_deref(), Some("generation 3, member \"\""));
    }
}
