//! What was written is counted, and the first writers of a round are timed.

use crate::app::App;
use crate::hub::Piece;
use crate::pulse::Transport;

/// Books `pieces` as written to a socket of this transport.
pub(crate) fn account(app: &App, transport: Transport, pieces: &[Piece]) {
    let streams = app.streams.all();
    let (mut results, mut bytes) = (0, 0);
    for piece in pieces {
        bytes += piece.bytes();
        if let Piece::Results(chunk) = piece {
            results += chunk.messages.len();
            if chunk.time_this() {
                app.pulse.timed(transport, chunk.oldest_ms);
                if let Some(stream) = streams.get(chunk.stream) {
                    stream.meter.wrote(chunk.oldest_ms);
                }
            }
        }
    }
    app.pulse.wrote(transport, results, bytes);
}
