//! The processor of the world.

use std::cell::Cell;
use std::time::Duration;

use schemas::catalog::Retry;
use schemas::datum::{DecodeError, Union};

use crate::effects::{self, Effects};
use crate::{Context, Decision, Outcome, Processor, Reads, Refusal, Rejection, Rows, Timer};

thread_local! {
    /// The process has ended inside the processor: what the core says afterwards, nobody hears.
    pub(super) static DIED: Cell<bool> = const { Cell::new(false) };
}

/// Sums numbers per subject.
pub(super) struct Sums;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Text(String);

impl Union for Text {
    fn decode(_name: &str, datum: &[u8]) -> Result<Self, DecodeError> {
        if datum == b"bomb" {
            DIED.set(true);
        }
        String::from_utf8(datum.to_vec()).map(Text).map_err(|_| DecodeError::Invalid { what: "text", at: 0 })
    }
    fn name(&self) -> &str {
        "test.sum"
    }
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
}

/// An addition for another subject.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Add(String);

impl Union for Add {
    fn decode(name: &str, datum: &[u8]) -> Result<Self, DecodeError> {
        Text::decode(name, datum).map(|text| Add(text.0))
    }
    fn name(&self) -> &str {
        if self.0 == "undeclared" { "nobody.knows" } else { "sum.add" }
    }
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
}

impl Processor for Sums {
    const NAME: &'static str = "sums";
    type Input = Text;
    type Row = Text;
    type ResultEvent = Text;
    type SendEvent = Add;

    fn reads(&self, input: &Text) -> Reads {
        match input.0.split_once(' ') {
            Some(("need", _)) => Reads::root(),
            Some(("first", limit)) => Reads::none().range("r/", limit.parse().unwrap()),
            Some(("settle", _)) => Reads::none().row("open"),
            Some(("keep", _)) => Reads::none().row("count"),
            Some(("count", prefix)) => Reads::none().shard_row("count").shard_range(prefix, 100),
            Some(_) => Reads::none(),
            None => Reads::root(),
        }
    }

    fn decide(&self, input: Text, rows: &Rows<Text>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let sum: i64 = rows.get("").map_or(0, |row| row.0.parse().unwrap());
        match input.0.as_str() {
            "refuse" => Err(Rejection::Refused(Refusal { code: "wrong_state", ..Refusal::default() })),
            "terminal" => Err(Rejection::Terminal("never".into())),
            "panic" => panic!("planted"),
            "kill" | "bomb" => {
                DIED.set(true);
                Err(Rejection::Terminal("nobody hears it".into()))
            }
            text if text.starts_with("first ") => {
                let sum: i64 = rows.range("r/").map(|(_, row)| row.0.parse::<i64>().unwrap()).sum();
                Ok(Decision::new().emit(Text(sum.to_string())))
            }
            text if text.starts_with("row ") => Ok(Decision::new().put(&format!("r/{}", &text[4..]), Text(text[4..].into()))),
            text if text.starts_with("brief ") => {
                Ok(Decision::new().put_until(&format!("r/{}", &text[6..]), Text(text[6..].into()), ctx.now + 50_000))
            }
            text if text.starts_with("drop ") => Ok(Decision::new().delete(&format!("r/{}", &text[5..]))),
            "open" => Ok(Decision::new().put("open", Text(hex(&ctx.ticket()))).left_open()),
            text if text.starts_with("settle ") => {
                let Some(Text(ticket)) = rows.get("open") else { return Err(Rejection::Retry("nothing is open".into())) };
                let refusal = Refusal { code: "taken", detail: "by another".into(), ..Refusal::default() };
                let outcome = if text.ends_with("ok") { Ok(()) } else { Err(refusal) };
                let told = if text.ends_with("ok") { vec![Text("77".into())] } else { Vec::new() };
                let decision = Decision::new().delete("open").settle(unhex(ticket).into(), outcome);
                Ok(told.into_iter().fold(decision, Decision::emit))
            }
            text if text.starts_with("mark ") => Ok(Decision::new().emit(Text(text[5..].into()))),
            text if text.starts_with("need ") => match text[5..].parse::<i64>().unwrap() {
                least if sum < least => Err(Rejection::Retry(format!("{sum} is too little"))),
                _ => Ok(Decision::new().emit(Text(sum.to_string()))),
            },
            text if text.starts_with("timer ") => {
                let mut words = text[6..].splitn(3, ' ');
                let (name, delay_ms, payload) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
                let due = ctx.now + delay_ms.parse::<i64>().unwrap() * 1_000;
                Ok(Decision::new().set_timer(name, due, payload.to_owned()))
            }
            text if text.starts_with("effect ") => Ok(Decision::new().effect("mail", text[7..].to_owned())),
            text if text.starts_with("bill ") => Ok(Decision::new().effect_for("bill", &text[5..], "")),
            text if text.starts_with("cancel ") => Ok(Decision::new().cancel_effect(&text[7..])),
            text if text.starts_with("clear ") => Ok(Decision::new().clear_timer(&text[6..])),
            text if text.starts_with("send ") => {
                let sends = text[5..].split(", ").filter_map(|send| send.split_once(' '));
                Ok(sends.fold(Decision::new(), |decision, (to, text)| decision.send(to, Add(text.to_owned()))))
            }
            text if of_shard(text) => Ok(about_shard(text, rows, ctx)),
            number => {
                let sum = sum + number.parse::<i64>().unwrap();
                Ok(Decision::new().put("", Text(sum.to_string())).emit(Text(sum.to_string())))
            }
        }
    }

    fn effects(&self) -> Effects {
        let retry = Retry { base_ms: 1_000, factor: 2.0, cap_ms: 10_000, attempts: 3 };
        let policy = effects::Policy { lease: Duration::from_secs(30), retry, ..effects::Policy::default() };
        let run = |_| async { Err(effects::Error::Terminal("the world answers".into())) };
        Effects::default().with("mail", policy.clone(), run).with("bill", policy, run)
    }

    fn outcome(&self, outcome: Outcome, _rows: &Rows<Text>, _ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let told = outcome.result.map_or(-1, |brought| std::str::from_utf8(&brought).unwrap().parse().unwrap());
        Ok(Decision::new().emit(Text(told.to_string())))
    }

    fn timer_reads(&self, timer: &Timer) -> Reads {
        self.reads(&Text(String::from_utf8(timer.payload.to_vec()).unwrap()))
    }

    fn timer(&self, timer: Timer, rows: &Rows<Text>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        assert!(timer.due <= ctx.now, "never early");
        self.decide(Text(String::from_utf8(timer.payload.to_vec()).unwrap()), rows, ctx)
    }
}

/// Whether it speaks of rows or timers of the shard.
fn of_shard(text: &str) -> bool {
    matches!(text.split(' ').next(), Some("count" | "keep" | "all" | "shard" | "unshard" | "later"))
}

fn about_shard(text: &str, rows: &Rows<Text>, ctx: &Context) -> Decision<Sums> {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    let number = |row: Option<&Text>| row.map_or(0, |row| row.0.parse::<i64>().unwrap());
    match verb {
        "count" => {
            let count = number(rows.shard("count")) + 1;
            let of_range = rows.shard_range(rest).count() as i64;
            let told = Text((100 * of_range + count).to_string());
            Decision::new().put_in_shard("count", Text(count.to_string())).emit(told)
        }
        "keep" => {
            let count = number(rows.get("count")) + rest.parse::<i64>().unwrap();
            Decision::new().put("count", Text(count.to_string()))
        }
        "all" => Decision::new().broadcast(Add(rest.to_owned())),
        "shard" => Decision::new().put_in_shard(first, Text("x".repeat(second.parse().unwrap()))),
        "later" => {
            let due = ctx.now + first.parse::<i64>().unwrap() * 1_000;
            Decision::new().set_shard_timer("later", due, second.to_owned())
        }
        _ => Decision::new().delete_in_shard("count").clear_shard_timer("later"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}
