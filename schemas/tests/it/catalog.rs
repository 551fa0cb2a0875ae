//! The catalog: what is embedded, what kinds become, and the sentence for each mistake.

use schemas::Catalog;
use schemas::catalog::{Route, SubjectSource};

const RECORD: &str = r#"{"type":"record","name":"Placed","namespace":"t","fields":[
    {"name":"id","type":"string"},{"name":"at","type":"double"},
    {"name":"inner","type":{"type":"record","name":"Inner","fields":[{"name":"n","type":"int"}]}}]}"#;
const OTHER: &str = r#"{"type":"record","name":"Other","namespace":"t","fields":[]}"#;
const HEAD: &str = "title = \"T\"\npartitions = 4\n";
const EVENT: &str = "[[event]]\ntype = \"order.place\"\nschema = \"t/placed.avsc\"\n";

fn parse(files: &[(&str, &str)]) -> Result<Catalog, schemas::catalog::Error> {
    Catalog::parse(files, &[("t/placed.avsc", RECORD), ("t/other.avsc", OTHER)])
}

/// What a stream of this one event is told.
fn said(event: &str) -> String {
    parse(&[("orders", &format!("{HEAD}{EVENT}{event}"))]).map(|_| "nothing".to_owned()).unwrap_or_else(|error| error.to_string())
}

#[test]
fn a_kind_becomes_events_results_routes_and_a_view() {
    let catalog = Catalog::embedded().unwrap();
    let stream = catalog.stream("entities").unwrap();
    let route = |ce_type: &str| {
        let (_, event) = catalog.event(ce_type).unwrap();
        let Route { method, path } = event.route.clone().unwrap();
        (
            format!("{method} {path}"),
            event.subject.source.clone(),
            event.schema.plan.field_names().map(str::to_owned).collect::<Vec<_>>(),
        )
    };
    let fields = ["first_name", "last_name", "email", "born_on", "notes"];
    let with_version: Vec<&str> = fields.into_iter().chain(["expected_version"]).collect();
    let by_path = SubjectSource::Path("id".into());
    assert_eq!(
        route("student.create"),
        ("POST /v1/students".into(), SubjectSource::Generated, fields.map(str::to_owned).to_vec())
    );
    let (update, subject, names) = route("student.update");
    assert_eq!(
        (update.as_str(), subject, names),
        ("PUT /v1/students/{id}", by_path.clone(), with_version.iter().map(|name| (*name).to_owned()).collect())
    );
    assert_eq!(route("student.delete"), ("DELETE /v1/students/{id}".into(), by_path, vec!["expected_version".to_owned()]));
    let results: Vec<&str> = stream.results.iter().map(|result| result.ce_type.as_str()).collect();
    assert_eq!(results, ["student.created", "student.updated", "student.deleted", "student.rejected"]);
    let view = &stream.views[0];
    assert_eq!((view.route.path.as_str(), view.subject.as_str()), ("/v1/students/{id}", "{account}/student/{id}"));
    let list = stream.kinds[0].list_route.as_ref().unwrap();
    assert_eq!((list.method.as_str(), list.path.as_str()), ("GET", "/v1/students"));
    assert_eq!(catalog.log_records().len(), 3);
}

#[test]
fn each_mistake_of_an_event_is_one_sentence() {
    let cases = [
        ("subject = { generated = true }", "nothing"),
        ("subject = { pointer = \"/inner/n\" }", "nothing"),
        ("subject = { generated = true }\nsettles = \"effects\"", "nothing"),
        ("subject = { generated = true }\nsettles = \"effects\"\ntracking = \"failures\"", "set tracking = \"all\""),
        ("subject = { generated = true }\ncolour = 1", "unknown field `colour`"),
        ("subject = { generated = true, attribute = true }", "exactly one of"),
        ("batch = true", "needs `subject`"),
        ("internal = true", "nothing"),
        ("subject = { pointer = \"/at\" }", "must end at a string"),
        ("subject = { pointer = \"/nix\" }", "leads to no field of t.Placed"),
        ("subject = { path = \"id\" }", "the path parameter id, which the route does not have"),
        ("subject = { generated = true, prefix = \"{tenant}/order\" }", "{tenant} is unknown here"),
        ("subject = { generated = true }\nroute = \"GET /v1/orders\"", "GET routes are views"),
        ("subject = { generated = true }\nroute = \"POST /orders\"", "does not start with /v1/"),
        ("subject = { generated = true }\nroute = \"POST /v1/streams/x\"", "/v1/streams belongs to the engine"),
        ("subject = { generated = true }\nroute = \"POST /v1/orders\"\ninternal = true", "only processors send internal events"),
        ("subject = { generated = true }\nanswers = \"order.place\"", "is not internal"),
        ("subject = { generated = true }\ninternal = true\nanswers = \"order.place\"", "set ordering = \"relaxed\""),
        ("subject = { generated = true }\ninternal = true\nordering = \"relaxed\"\nanswers = \"a.b\"", "which no stream has"),
        ("subject = { generated = true }\nanswer = \"outcome\"", "needs a route"),
        (
            "subject = { generated = true }\nroute = \"POST /v1/orders\"\nanswer = \"outcome\"\ntracking = \"none\"",
            "set tracking = \"all\"",
        ),
        ("subject = { generated = true }\nroute = \"POST /v1/orders\"\nanswer = \"outcome\"", "add the result order.rejected"),
        ("subject = { generated = true }\nlocation = \"/v1/orders/{id}\"", "`location` needs answer"),
        ("subject = { generated = true }\n[event.fields]\nnix = { min = 1 }", "rules for a field nix"),
    ];
    for (event, sentence) in cases {
        let found = said(event);
        assert!(found.contains(sentence), "{event}\n{found}");
    }
}

#[test]
fn an_effect_is_attempted_as_its_table_says_and_each_mistake_in_it_is_one_sentence() {
    let stream = |effects: &str| parse(&[("orders", &format!("{HEAD}{EVENT}subject = {{ generated = true }}\n{effects}"))]);
    let catalog = stream("[[effect]]\nname = \"mail\"\ntarget = \"smtp\"\nconcurrency = 4\nbreaker = false").unwrap();
    let mail = &catalog.stream("orders").unwrap().effects[0];
    assert_eq!((mail.target.as_deref(), mail.concurrency, mail.per_key, mail.lease_s), (Some("smtp"), 4, 64, 35));
    assert!(!mail.breaker);
    let cases = [
        ("[[effect]]\nname = \"mail\"\nconcurrency = 0", "`concurrency` and `per_key` are 1 to 64"),
        ("[[effect]]\nname = \"mail\"\nlease_s = 5", "effect \"mail\": `lease_s` is 6 to 3600"),
        ("[[effect]]\nname = \"mail\"\n[[effect]]\nname = \"mail\"", "the effect \"mail\" stands here twice"),
        ("[[effect]]\nname = \"mail\"\nretry = { attempts = 0 }", "1 ≤ attempts ≤ 1000"),
        ("[[effect]]\nname = \"mail\"\ncolour = 1", "unknown field `colour`"),
    ];
    for (effects, expected) in cases {
        let said = stream(effects).unwrap_err().to_string();
        assert!(said.contains(expected), "{said} for {effects}");
    }
}

#[test]
fn each_mistake_across_streams_is_one_sentence() {
    let event = format!("{EVENT}subject = {{ generated = true }}\n");
    let stream = |rest: &str| format!("{HEAD}{event}{rest}");
    let plain = stream("");
    let routed = |ce_type: &str, route: &str| {
        format!(
            "{HEAD}[[event]]\ntype = \"{ce_type}\"\nschema = \"t/other.avsc\"\nsubject = {{ generated = true }}\nroute = \"{route}\"\n"
        )
    };
    let (a, b) = (routed("a.b", "PUT /v1/orders/{id}"), routed("b.c", "PUT /v1/orders/{order}"));
    let result = "[[result]]\ntype = \"a.b\"\nschema = \"t/other.avsc\"\n[[result]]\ntype = \"b.c\"\nschema = \"t/other.avsc\"\n";
    let compact = format!("headers = \"compact\"\n{}", stream(result));
    let other = routed("a.b", "PUT /v1/orders/{id}");
    let wider = other.replace("partitions = 4", "partitions = 8");
    let follows = |rest: &str| stream(&format!("[[follow]]\nstream = \"others\"\n{rest}"));
    let cases: [(&[(&str, &str)], &str); 16] = [
        (&[("orders", &plain), ("others", &plain)], "order.place is declared twice, here and in orders"),
        (&[("orders", &a), ("others", &b)], "PUT /v1/orders/{order} clashes with one of orders"),
        (&[("Orders", &plain)], "[a-z][a-z0-9-]{0,62}"),
        (&[("orders", HEAD)], "neither an [[event]] nor a [[kind]]"),
        (&[("orders", &stream("[[follow]]\nstream = \"nix\"\n"))], "it follows nix, which is no stream"),
        (&[("orders", &follows("")), ("others", &other)], "nothing"),
        (&[("orders", &follows("start = \"latest\"\n")), ("others", &other)], "nothing"),
        (&[("orders", &follows("start = \"now\"\n")), ("others", &other)], "unknown variant `now`"),
        (&[("orders", &follows("")), ("others", &wider)], "it follows others, which has 8 partitions, not 4"),
        (&[("orders", &follows("types = [\"c.d\"]\n")), ("others", &other)], "for c.d, which is no result of others"),
        (&[("others", &follows(""))], "it follows itself"),
        (&[("orders", &format!("sends = [\"orders\", \"orders\"]\n{plain}"))], "`sends` names orders twice"),
        (&[("orders", &format!("sends = [\"nix\"]\n{plain}"))], "it sends to nix, which is no stream"),
        (&[("orders", &compact)], "with compact headers each needs its own"),
        (&[("orders", &stream("[[row]]\nschema = \"t/nix.avsc\"\n"))], "there is no file avro/t/nix.avsc"),
        (&[("orders", &plain.replace("partitions = 4", "partitions = 0"))], "partitions = 0 is outside"),
    ];
    for (files, sentence) in cases {
        let found = parse(files).map(|_| "nothing".to_owned()).unwrap_or_else(|error| error.to_string());
        assert!(found.contains(sentence), "{sentence}\n{found}");
    }
}
