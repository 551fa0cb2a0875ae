//! The three processors. An order waits for stock, then for its payment until a deadline; what it does not get paid for it
//! gives back.

use std::time::Duration;

use runtime::effects::{Effects, Policy};
use runtime::{Context, Decision, Outcome, Processor, Reads, Rejection, Rows, Timer};
use schemas::catalog::Retry;

use super::target;
use crate::streams::{Words, row, words};

/// Orders are cancelled when they are not paid for so long, µs.
const DEADLINE_US: i64 = 5_000_000;

pub(crate) const FILES: [(&str, &str); 3] = [("orders", ORDERS), ("stock", STOCK), ("payments", PAYMENTS)];

const ORDERS: &str = r#"
title = "Orders"
partitions = 4
sends = ["stock", "payments"]
[[follow]]
stream = "payments"
[[event]]
type = "order.place"
schema = "test/words.avsc"
subject = { attribute = true }
[[event]]
type = "order.close"
schema = "test/words.avsc"
subject = { attribute = true }
retry = { base_ms = 200, factor = 1.5, cap_ms = 1000, attempts = 1000 }
[[event]]
type = "stock.answered"
schema = "test/words.avsc"
internal = true
answers = "stock.reserve"
ordering = "relaxed"
[[result]]
type = "order.placed"
schema = "test/words.avsc"
[[result]]
type = "order.paid"
schema = "test/words.avsc"
[[result]]
type = "order.cancelled"
schema = "test/words.avsc"
[[result]]
type = "order.closed"
schema = "test/words.avsc"
[[row]]
schema = "test/words.avsc"
"#;
const STOCK: &str = r#"
title = "Stock"
partitions = 4
sends = ["orders"]
[[event]]
type = "stock.fill"
schema = "test/words.avsc"
subject = { attribute = true }
[[event]]
type = "stock.reserve"
schema = "test/words.avsc"
internal = true
[[event]]
type = "stock.return"
schema = "test/words.avsc"
internal = true
[[result]]
type = "stock.changed"
schema = "test/words.avsc"
[[row]]
schema = "test/words.avsc"
"#;
const PAYMENTS: &str = r#"
title = "Payments"
partitions = 4
[[event]]
type = "payment.charge"
schema = "test/words.avsc"
internal = true
settles = "effects"
[[event]]
type = "payment.cancel"
schema = "test/words.avsc"
internal = true
[[result]]
type = "payment.made"
schema = "test/words.avsc"
[[result]]
type = "payment.dropped"
schema = "test/words.avsc"
[[row]]
schema = "test/words.avsc"
"#;

/// What cannot happen: a dead letter, which the test finds.
fn impossible(input: &Words, row: Option<&Words>) -> Rejection {
    Rejection::Terminal(format!("{input:?} meets {row:?}"))
}

/// Row `""`: state, item, count, and how it will be paid.
pub(crate) struct Orders;

impl Processor for Orders {
    const NAME: &'static str = "orders";
    type Input = Words;
    type Row = Words;
    type ResultEvent = Words;
    type SendEvent = Words;

    fn reads(&self, _input: &Words) -> Reads {
        Reads::root()
    }

    fn decide(&self, input: Words, rows: &Rows<Words>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let order = &*ctx.subject;
        let Some(known) = rows.get("") else {
            let [item, count, _] = parts(&input.text);
            let reserve = words("stock.reserve", &format!("{order} {count}"));
            let placed = Decision::new().put("", row(&format!("reserving {}", input.text)));
            return match input.name.as_str() {
                "order.place" => Ok(placed.send(item, reserve).emit(words("order.placed", ""))),
                _ => Err(impossible(&input, None)),
            };
        };
        let (state, rest) = known.text.split_once(' ').unwrap();
        let [item, _, how] = parts(rest);
        let become_ = |state: &str| Decision::new().put("", row(&format!("{state} {rest}")));
        match (input.name.as_str(), state) {
            ("order.close", "paid" | "out-of-stock" | "unpaid") => Ok(Decision::new().emit(words("order.closed", state))),
            ("order.close", _) => Err(Rejection::Retry(format!("it is {state}"))),
            ("stock.answered", "reserving") if input.text == "no" => {
                Ok(become_("out-of-stock").emit(words("order.cancelled", "out-of-stock")))
            }
            ("stock.answered", "reserving") => {
                let charge = words("payment.charge", how);
                Ok(become_("paying").send(order, charge).set_timer("deadline", ctx.now + DEADLINE_US, ""))
            }
            ("payment.made", "paying" | "late") => Ok(become_("paid").clear_timer("deadline").emit(words("order.paid", ""))),
            ("payment.dropped", "late") => {
                let back = words("stock.return", &format!("{order} 0"));
                Ok(become_("unpaid").send(item, back).emit(words("order.cancelled", "unpaid")))
            }
            _ => Err(impossible(&input, Some(known))),
        }
    }

    fn timer(&self, _timer: Timer, rows: &Rows<Words>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let known = rows.get("").map(|row| row.text.as_str()).unwrap_or_default();
        match known.split_once(' ') {
            // the payment itself says which of the two was first
            Some(("paying", rest)) => {
                let late = Decision::new().put("", row(&format!("late {rest}")));
                Ok(late.send(&ctx.subject, words("payment.cancel", "")))
            }
            _ => Err(Rejection::Terminal(format!("the deadline of an order that is {known:?}"))),
        }
    }
}

/// Row `""`: how many are left; rows `held/<order>`: how many it has.
pub(crate) struct Stock;

impl Processor for Stock {
    const NAME: &'static str = "stock";
    type Input = Words;
    type Row = Words;
    type ResultEvent = Words;
    type SendEvent = Words;

    fn reads(&self, input: &Words) -> Reads {
        Reads::root().row(&held(input))
    }

    fn decide(&self, input: Words, rows: &Rows<Words>, _ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let (order, count) = input.text.split_once(' ').unwrap();
        let count: i64 = count.parse().unwrap();
        let number = |sort: &str| rows.get(sort).map(|row| row.text.parse::<i64>().unwrap());
        let (left, held) = (number("").unwrap_or_default(), held(&input));
        let leave = |left: i64| Decision::new().put("", row(&left)).emit(words("stock.changed", &left));
        match (input.name.as_str(), number(&held)) {
            ("stock.fill", _) => Ok(leave(count)),
            ("stock.reserve", None) if left < count => Ok(Decision::new().send(order, words("stock.answered", "no"))),
            ("stock.reserve", None) => {
                Ok(leave(left - count).put(&held, row(&count)).send(order, words("stock.answered", "yes")))
            }
            ("stock.return", Some(count)) => Ok(leave(left + count).delete(&held)),
            _ => Err(impossible(&input, rows.get(&held))),
        }
    }
}

fn held(input: &Words) -> String {
    format!("held/{}", input.text.split(' ').next().unwrap_or_default())
}

/// Row `""`: `charging <effect>`, `made` or `dropped`.
pub(crate) struct Payments {
    target: String,
}

impl Payments {
    pub(crate) fn at(target: &str) -> Self {
        Self { target: target.to_owned() }
    }
}

impl Processor for Payments {
    const NAME: &'static str = "payments";
    type Input = Words;
    type Row = Words;
    type ResultEvent = Words;
    type SendEvent = Words;

    fn reads(&self, _input: &Words) -> Reads {
        Reads::root()
    }

    fn decide(&self, input: Words, rows: &Rows<Words>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let known = rows.get("");
        match (input.name.as_str(), known.map(|row| row.text.as_str())) {
            ("payment.charge", None) => {
                let charging = row(&format!("charging {}", ctx.effect_id(0)));
                Ok(Decision::new().put("", charging).effect("charge", format!("{} {}", ctx.subject, input.text)))
            }
            ("payment.cancel", Some("made")) => Ok(Decision::unchanged()),
            ("payment.cancel", Some(text)) if text.starts_with("charging ") => {
                let dropped = Decision::new().put("", row("dropped")).cancel_effect(&text[9..]);
                Ok(dropped.emit(words("payment.dropped", "")))
            }
            _ => Err(impossible(&input, known)),
        }
    }

    fn effects(&self) -> Effects {
        let target = self.target.clone();
        let retry = Retry { base_ms: 100, factor: 1.5, cap_ms: 500, attempts: 1_000 };
        // some orders are never paid: that says nothing of the target
        let policy = Policy { lease: Duration::from_secs(7), retry, breaker: false, ..Policy::default() };
        Effects::default().with("charge", policy, move |call| target::charge(target.clone(), call))
    }

    fn outcome(&self, outcome: Outcome, rows: &Rows<Words>, _ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let known = rows.get("").map(|row| row.text.clone()).unwrap_or_default();
        if outcome.result.is_err() || known != format!("charging {}", outcome.id) {
            return Err(Rejection::Terminal(format!("{outcome:?} meets {known}")));
        }
        Ok(Decision::new().put("", row("made")).emit(words("payment.made", "")))
    }
}

fn parts(text: &str) -> [&str; 3] {
    let mut parts = text.split(' ');
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}
