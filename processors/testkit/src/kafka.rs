//! Plain Kafka clients.
