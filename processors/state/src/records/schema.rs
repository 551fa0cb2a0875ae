//! The Avro schemas of the engine's rows, as they are registered.

/// Schema of [`super::Head`].
pub const HEAD_AVSC: &str = r#"{"type":"record","name":"Head","namespace":"forebay.engine","fields":[
{"name":"seq","type":"long"},
{"name":"timers","type":{"type":"map","values":"long"}},
{"name":"front","type":"long"},
{"name":"back","type":"long"},
{"name":"held_item","type":["null","long"],"default":null}]}"#;

/// Schema of [`crate::Mark`].
pub const MARK_AVSC: &str = r#"{"type":"record","name":"Mark","namespace":"forebay.engine","fields":[
{"name":"applied","type":"long"},
{"name":"n","type":"long"},
{"name":"ts","type":"long"},
{"name":"positions","type":{"type":"map","values":"long"}},
{"name":"horizon","type":"long"},
{"name":"agenda_floor","type":"long"}]}"#;

/// Schema of [`super::EventStatus`].
pub const EVENT_STATUS_AVSC: &str = r#"{"type":"record","name":"EventStatus","namespace":"forebay.engine","fields":[
{"name":"state","type":{"type":"enum","name":"EventState","symbols":["QUEUED","PROCESSING","SUCCEEDED","FAILED_RETRYABLE","FAILED_TERMINAL"]}},
{"name":"outcome","type":["null","string"],"default":null},
{"name":"code","type":["null","string"],"default":null},
{"name":"detail","type":["null","string"],"default":null},
{"name":"history","type":{"type":"array","items":{"type":"record","name":"EventStep","fields":[
{"name":"state","type":"EventState"},
{"name":"at","type":"long"}]}}},
{"name":"attempts","type":"int"},
{"name":"next_attempt","type":["null","long"],"default":null},
{"name":"stream","type":"string"},
{"name":"subject","type":"string"},
{"name":"partition","type":"int"},
{"name":"offset","type":"long"},
{"name":"cause","type":["null","string"],"default":null},
{"name":"products","type":{"type":"array","items":{"type":"record","name":"EventProduct","fields":[
{"name":"kind","type":"string"},
{"name":"stream","type":"string"},
{"name":"subject","type":"string"},
{"name":"type","type":"string"},
{"name":"seq","type":["null","long"],"default":null},
{"name":"key","type":["null",{"type":"fixed","name":"EventKey","size":16}],"default":null}]}}},
{"name":"reason","type":["null","string"],"default":null}]}"#;
