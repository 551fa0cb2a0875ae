//! Events whose outcome a later input tells.

use schemas::key::EventKey;
use schemas::names;
use state::records::State;

use super::world::World;
use crate::engine::recover::rebuild;

#[test]
fn a_later_input_tells_the_outcome_of_an_event_that_was_left_open() {
    for (outcome, told) in [("ok", 1), ("no", 0)] {
        let mut world = World::new();
        world.send_with_id("a open", "asked");
        world.run();
        assert_eq!(world.status("asked"), (State::Processing, None, vec![State::Queued, State::Processing]));
        world.take_over();
        world.send_with_id(&format!("a settle {outcome}"), "answered");
        world.run();
        let (state, found, history) = world.status("asked");
        let expected = if told == 1 { "ok" } else { "rejected" };
        assert_eq!((state, found.as_deref()), (State::Succeeded, Some(expected)));
        assert_eq!(history, [State::Queued, State::Processing, State::Succeeded]);
        assert_eq!((world.results("a").len(), world.rejected("a").len()), (told, 1 - told));
        let asked = EventKey::of("test", "asked", None).to_string();
        assert_eq!(world.told_headers("a", names::HEADER_CAUSE), [asked], "told in the name of the event");
        assert_eq!(world.status("answered").0, State::Succeeded);
    }
}

#[test]
fn an_event_that_is_opened_and_settled_in_one_batch_has_one_status() {
    let mut world = World::new();
    world.send_with_id("a open", "asked");
    world.send_with_id("a settle ok", "answered");
    world.run();
    assert_eq!(world.status("asked").0, State::Succeeded);
    let (shard, log) = world.log_of("a");
    let frames = rebuild(&shard, None, 0, &log).unwrap().frames;
    let asked = EventKey::of("test", "asked", None).0;
    let written = frames.iter().flat_map(|frame| &frame.status).filter(|write| write.key.event == asked).count();
    assert_eq!(written, 1);
}
