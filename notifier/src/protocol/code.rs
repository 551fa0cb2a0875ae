//! Codes of refusals (`err`, `end`) and of the last message (`bye`). They are stable: added to, never renamed.

/// Why a request was refused or a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Not a JSON object, duplicate keys, or nested too deeply.
    BadJson,
    /// Unknown `op`.
    BadOp,
    /// A field is missing or of the wrong type; the text names it.
    BadField,
    /// Something came before `hello`.
    HelloFirst,
    /// A second `hello`.
    HelloTwice,
    /// The `id` names an open subscription.
    IdInUse,
    /// The `id` names no open subscription.
    IdUnknown,
    /// An equal subscription is open on this connection.
    DuplicateSubscription,
    /// Not a well-formed channel or pattern.
    ChannelSyntax,
    /// A name the engine keeps.
    ChannelReserved,
    /// No such stream.
    StreamUnknown,
    /// Not a well-formed filter.
    FilterSyntax,
    /// `since` is none of the known forms.
    SinceSyntax,
    /// No credential where one is needed.
    AuthMissing,
    /// The credential is not valid.
    AuthInvalid,
    /// The principal may not do this.
    Forbidden,
    /// Too many subscriptions.
    LimitSubscriptions,
    /// Too many messages.
    LimitRate,
    /// A snapshot cannot be read now.
    SnapshotUnavailable,
    /// The node has not caught up with its streams yet.
    Warming,
    /// A fault of ours; the log has it.
    Internal,
}

impl Code {
    /// The text on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadJson => "bad_json",
            Self::BadOp => "bad_op",
            Self::BadField => "bad_field",
            Self::HelloFirst => "hello_first",
            Self::HelloTwice => "hello_twice",
            Self::IdInUse => "id_in_use",
            Self::IdUnknown => "id_unknown",
            Self::DuplicateSubscription => "duplicate_subscription",
            Self::ChannelSyntax => "channel_syntax",
            Self::ChannelReserved => "channel_reserved",
            Self::StreamUnknown => "stream_unknown",
            Self::FilterSyntax => "filter_syntax",
            Self::SinceSyntax => "since_syntax",
            Self::AuthMissing => "auth_missing",
            Self::AuthInvalid => "auth_invalid",
            Self::Forbidden => "forbidden",
            Self::LimitSubscriptions => "limit_subscriptions",
            Self::LimitRate => "limit_rate",
            Self::SnapshotUnavailable => "snapshot_unavailable",
            Self::Warming => "warming",
            Self::Internal => "internal",
        }
    }

    /// Milliseconds after which the same request may succeed; `None`: it will not, however often it is sent.
    #[must_use]
    pub fn retry_after_ms(self) -> Option<u32> {
        match self {
            Self::LimitSubscriptions | Self::LimitRate | Self::Warming | Self::Internal => Some(1_000),
            Self::SnapshotUnavailable => Some(5_000),
            _ => None,
        }
    }
}

/// Why a connection ends: the code of `bye` and the WebSocket close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bye {
    /// The node is going away.
    Drain,
    /// The client does not read fast enough.
    Slow,
    /// Ten bad messages in a row.
    Protocol,
    /// Something was said before `hello`.
    NotGreeted,
    /// No `hello` in time.
    HelloTimeout,
    /// A limit was passed again and again.
    Limit,
    /// Nothing was received for too long.
    Idle,
    /// A fault of ours.
    Internal,
}

impl Bye {
    /// The text on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Slow => "slow",
            Self::Protocol | Self::NotGreeted | Self::HelloTimeout => "protocol",
            Self::Limit => "limit",
            Self::Idle => "idle",
            Self::Internal => "internal",
        }
    }

    /// The WebSocket close code.
    #[must_use]
    pub fn close_code(self) -> u16 {
        match self {
            Self::Drain | Self::Idle => 1001,
            Self::Internal => 1011,
            Self::Protocol => 4400,
            Self::NotGreeted => 4401,
            Self::HelloTimeout => 4408,
            Self::Slow => 4410,
            Self::Limit => 4429,
        }
    }

    /// Whether the client may come back by itself.
    #[must_use]
    pub fn reconnect(self) -> bool {
        !matches!(self, Self::Protocol)
    }
}
