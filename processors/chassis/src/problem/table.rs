//! The table of problem types.

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) status: u16,
    pub(super) retryable: bool,
    pub(super) title: &'static str,
    pub(super) explanation: &'static str,
}

/// Makes the enum and the table from one list, so that neither can lack a line of the other.
macro_rules! problems {
    ($($variant:ident, $name:literal, $status:literal, $retryable:literal, $title:literal, $explanation:literal;)*) => {
        /// A problem type; the variant's name in kebab case is the name in `urn:forebay:problem:<name>`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Name {
            $(#[doc = $title] $variant,)*
        }

        impl Name {
            /// All names.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub(super) fn entry(self) -> &'static Entry {
                match self {
                    $(Self::$variant => {
                        const ENTRY: Entry = Entry {
                            name: $name,
                            status: $status,
                            retryable: $retryable,
                            title: $title,
                            explanation: $explanation,
                        };
                        &ENTRY
                    })*
                }
            }
        }
    };
}

impl Name {
    /// The name as it stands in the type's URN.
    pub fn as_str(self) -> &'static str {
        self.entry().name
    }

    /// The type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.as_str() == name)
    }

    /// The status it is answered with.
    pub fn status(self) -> u16 {
        self.entry().status
    }

    /// Whether the same request may succeed later.
    pub fn retryable(self) -> bool {
        self.entry().retryable
    }
}

problems! {
    MalformedRequest, "malformed-request", 400, false, "The request cannot be read",
        "The body, a header or a parameter is not what its format demands; nothing was done. The detail says where, for JSON \
         with line, column and byte. Correct the request; the same one will fail again.";
    IdempotencyKeyMissing, "idempotency-key-missing", 400, false, "An Idempotency-Key is required",
        "This route only takes requests with an Idempotency-Key header, so that a repeat cannot have a second effect. Add one: \
         1 to 255 visible ASCII characters, new for every intention, the same for its repeats.";
    Unauthenticated, "unauthenticated", 401, false, "No valid credentials",
        "The request carries no credentials, or they are unknown, expired or revoked. Send a valid one as Authorization: \
         Bearer.";
    Forbidden, "forbidden", 403, false, "Not allowed",
        "The credentials are valid but do not grant this action here, or the request comes from an origin or host that is not \
         allowed. Ask the account's owner for a capability that covers the channel.";
    NotFound, "not-found", 404, false, "Not found",
        "No route, stream or problem type has this name. GET /v1/streams lists the streams you may use; GET /openapi.json all \
         routes.";
    MethodNotAllowed, "method-not-allowed", 405, false, "Method not allowed",
        "The route exists but not for this method. The Allow header lists those it takes.";
    NotAcceptable, "not-acceptable", 406, false, "No acceptable answer format",
        "The Accept header allows none of the formats this route answers in. Allow application/json and \
         application/problem+json, or */*.";
    RequestTimeout, "request-timeout", 408, true, "The request came too slowly",
        "Headers or body did not arrive within their time limits; nothing was done and the connection is closed. Send it again, \
         on a better connection or in smaller parts.";
    RequestInProgress, "request-in-progress", 409, true, "The same request is being handled right now",
        "A request with the same Idempotency-Key, or the same event, has not been answered yet. Wait as long as Retry-After \
         says and send it again; the first one's outcome will be told.";
    TooLarge, "too-large", 413, false, "Too large",
        "The body, the batch or one event passes a limit, named by the member limit. Split the batch or make the event smaller; \
         the same request will fail again.";
    UnsupportedMediaType, "unsupported-media-type", 415, false, "Unsupported media type",
        "The Content-Type is none this route takes. The Accept-Post header lists them.";
    UnsupportedEncoding, "unsupported-encoding", 415, false, "Unsupported content encoding",
        "The Content-Encoding is none this route takes, or several are stacked. The Accept-Encoding header lists them; use one \
         at a time.";
    IdempotencyKeyReused, "idempotency-key-reused", 422, false, "The Idempotency-Key belongs to another request",
        "The key was used before with another body. Nothing was done. Use a new key for a new intention.";
    InvalidEvent, "invalid-event", 422, false, "The event is invalid",
        "The event does not fit its schema or the rules of its stream; errors lists every finding with a JSON pointer. Nothing \
         was written. Correct the event.";
    InvalidBatch, "invalid-batch", 422, false, "Every event of the batch is invalid, or one under ?strict=true",
        "events has one verdict per event, in order, with every finding. Nothing was written. Correct the events marked \
         invalid.";
    QuotaExceeded, "quota-exceeded", 429, true, "The account's quota is used up",
        "The account sends more events or bytes per second than it may; nothing was done. Wait as long as Retry-After says; the \
         RateLimit headers tell what is left.";
    HeadersTooLarge, "headers-too-large", 431, false, "The headers are too large",
        "There are too many headers, or they are too long. Remove some.";
    Overloaded, "overloaded", 503, true, "The service has no room right now",
        "Requests in flight fill the memory set aside for them. Nothing was written. Wait as long as Retry-After says and send \
         it again.";
    DeadlineUnreachable, "deadline-unreachable", 503, true, "The deadline cannot be met",
        "By current figures the log would acknowledge later than the request's own deadline, so nothing was written. Send it \
         again later or with a longer Request-Timeout-Ms.";
    LogUnavailable, "log-unavailable", 503, true, "The log does not take events right now",
        "The partition's broker does not acknowledge. Nothing of what is marked retry was written. Wait as long as Retry-After \
         says and send it again.";
    SpoolUnavailable, "spool-unavailable", 503, true, "The local spool cannot take events",
        "The log does not take events and the local spool is full or failed. Nothing of what is marked retry was written. Wait \
         and send it again.";
    RegistryUnavailable, "registry-unavailable", 503, true, "A schema cannot be fetched right now",
        "The event names a schema that is not known here yet, and the schema registry does not answer. Nothing was written. \
         Send it again later.";
    OutcomeUnknown, "outcome-unknown", 503, true, "It is unknown whether the event was written",
        "The event was sent to the log and no answer came in time; it may have been written. Send it again with the same id, \
         then it has one effect in any case; a new id could have two.";
    NotReady, "not-ready", 503, true, "The service is starting",
        "The process is up but not warmed up yet. Send it again shortly, or to another node.";
    ShuttingDown, "shutting-down", 503, true, "The service is shutting down",
        "The process finishes what it has and takes nothing new. Send it again; another node will answer.";
    Internal, "internal", 500, true, "Internal error",
        "This is a bug. The request id in instance leads to the log line. Send it again with the same id or Idempotency-Key.";
    Conflict, "conflict", 409, false, "Refused by the current state",
        "The event was processed and refused, since the state does not allow it; code says why. Read the current state before \
         deciding what to send instead.";
    Refused, "refused", 422, false, "Refused as invalid by the processor",
        "The event was processed and refused for what it contains; code and errors say why. Correct it and send it as a new \
         event.";
    EventFailed, "event-failed", 422, false, "The event cannot be processed",
        "The event was put among the dead letters for what it is. A repeat is a duplicate; send a corrected event under a new \
         id.";
    ProcessingFailed, "processing-failed", 503, false, "Processing failed",
        "The event was put among the dead letters after processing it failed. A repeat is a duplicate; an operator re-drives it \
         once the cause is removed.";
    ViewNotFound, "view-not-found", 404, false, "No such view or row",
        "Nothing is stored under this subject, or it is not readable as a view. GET /v1/streams tells which views exist.";
    ViewMoved, "view-moved", 409, true, "The rows moved while they were read",
        "The shard changed its owner during the read. Send the request again.";
    NotYet, "not-yet", 409, true, "The position asked for is not reached yet",
        "The view does not yet show the event you want to see. Wait as long as Retry-After says and read again.";
    ReceiptExpired, "receipt-expired", 410, false, "The receipt is too old",
        "The lifecycle of an event is kept for a limited time, which is over for this receipt.";
    ViewUnavailable, "view-unavailable", 503, true, "The store cannot be read right now",
        "The state store does not answer. Read again later.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_their_variants_in_kebab_case() {
        for name in Name::ALL {
            let kebab = format!("{name:?}").chars().enumerate().fold(String::new(), |mut text, (i, c)| {
                if c.is_ascii_uppercase() && i > 0 {
                    text.push('-');
                }
                text.push(c.to_ascii_lowercase());
                text
            });
            assert_eq!(name.as_str(), kebab);
        }
    }
}
