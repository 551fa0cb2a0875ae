use super::*;

fn code_of(text: &str) -> (Option<u32>, Code) {
    let refusal = parse(text).unwrap_err();
    (refusal.id, refusal.code)
}

#[test]
fn a_full_subscription_is_read() {
    let text = r#"{"op":"sub","id":7,"ch":["orders/acme/**","flights/ATL","flights/ATL"],"since":{"token":"AQ"},
        "policy":"cut","on_gap":"stop","mode":"log","unknown":[1]}"#;
    let Request::Sub(sub) = parse(text).unwrap() else { panic!("a sub") };
    assert_eq!(sub.id, 7);
    assert_eq!(sub.patterns.iter().map(Pattern::as_str).collect::<Vec<_>>(), ["flights/ATL", "orders/acme/**"]);
    assert_eq!((sub.since, sub.policy, sub.on_gap), (Since::Token("AQ".into()), Policy::Cut, Some(OnGap::Stop)));
}

#[test]
fn defaults_are_now_and_catchup() {
    let Request::Sub(sub) = parse(r#"{"op":"sub","id":1,"ch":["flights/*"]}"#).unwrap() else { panic!("a sub") };
    assert_eq!((sub.since, sub.policy, sub.on_gap), (Since::Now, Policy::Catchup, None));
    let Request::Hello { auth, heartbeat_s } = parse(r#"{"op":"hello"}"#).unwrap() else { panic!("a hello") };
    assert_eq!((auth, heartbeat_s), (None, 25));
}

#[test]
fn every_form_of_since_is_read() {
    let since = |form: &str| match parse(&format!(r#"{{"op":"sub","id":1,"ch":["a/b"],"since":{form}}}"#)) {
        Ok(Request::Sub(sub)) => Ok(sub.since),
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => Err(refusal.code),
    };
    assert_eq!(since(r#""now""#), Ok(Since::Now));
    assert_eq!(since(r#""earliest""#), Ok(Since::Earliest));
    assert_eq!(since(r#""snapshot""#), Ok(Since::Snapshot));
    assert_eq!(since(r#"{"time":"1970-01-01T00:00:01.5Z"}"#), Ok(Since::Time(1_500)));
    for bad in [
        r#""soon""#,
        "5",
        r#"{"time":"yesterday"}"#,
        r#"{"token":"a","time":"1970-01-01T00:00:00Z"}"#,
        "{}",
        r#""2026-01-01T00:00:00Z""#,
    ] {
        assert_eq!(since(bad), Err(Code::SinceSyntax), "{bad}");
    }
}

#[test]
fn bad_requests_are_refused_with_the_published_code() {
    let many = format!(r#"{{"op":"sub","id":1,"ch":[{}]}}"#, vec![r#""a/b""#; 17].join(","));
    let deep = format!("{}{}", "[".repeat(17), "]".repeat(17));
    let deep = format!(r#"{{"op":"unsub","id":1,"x":{deep}}}"#);
    for (text, id, code) in [
        ("nonsense", None, Code::BadJson),
        ("[1]", None, Code::BadJson),
        (r#"{"op":"unsub","op":"unsub","id":1}"#, None, Code::BadJson),
        (deep.as_str(), None, Code::BadJson),
        (r#"{"op":"fly","id":3}"#, Some(3), Code::BadOp),
        (r#"{"id":3}"#, Some(3), Code::BadField),
        (r#"{"op":5}"#, None, Code::BadField),
        (r#"{"op":"unsub"}"#, None, Code::BadField),
        (r#"{"op":"unsub","id":0}"#, None, Code::BadField),
        (r#"{"op":"unsub","id":2147483648}"#, None, Code::BadField),
        (r#"{"op":"sub","id":1,"ch":"a/b"}"#, Some(1), Code::BadField),
        (r#"{"op":"sub","id":1,"ch":[]}"#, Some(1), Code::ChannelSyntax),
        (many.as_str(), Some(1), Code::ChannelSyntax),
        (r#"{"op":"sub","id":1,"ch":["a/**/b"]}"#, Some(1), Code::ChannelSyntax),
        (r#"{"op":"sub","id":1,"ch":["a//b"]}"#, Some(1), Code::ChannelSyntax),
        (r#"{"op":"sub","id":1,"ch":["$presence/a"]}"#, Some(1), Code::ChannelReserved),
        (r#"{"op":"sub","id":1,"ch":["a/b"],"policy":"hope"}"#, Some(1), Code::BadField),
        (r#"{"op":"sub","id":1,"ch":["a/b"],"filter":"data.x > 1"}"#, Some(1), Code::FilterSyntax),
        (r#"{"op":"sub","id":1,"ch":["a/b"],"mode":"conflate"}"#, Some(1), Code::BadField),
        (r#"{"op":"hello","heartbeat_s":61}"#, None, Code::BadField),
        (r#"{"op":"auth"}"#, None, Code::BadField),
        (r#"{"op":"repair","id":1,"ch":"a/*","last":1}"#, Some(1), Code::ChannelSyntax),
        (r#"{"op":"repair","id":1,"ch":"a/b","last":-1}"#, Some(1), Code::BadField),
    ] {
        assert_eq!(code_of(text), (id, code), "{text}");
    }
}
