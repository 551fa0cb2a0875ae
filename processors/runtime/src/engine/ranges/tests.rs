use bytes::Bytes;
use proptest::prelude::*;

use super::*;

type Content = BTreeMap<u8, Option<i64>>;

fn sort(n: u8) -> Arc<str> {
    format!("{}/{n:03}", if n.is_multiple_of(5) { "a" } else { "r" }).into()
}

/// A row that expires at the time given, or a deletion.
fn image(expire_at: Option<i64>) -> Image {
    expire_at.map_or(Image::ABSENT, |at| Image { val: Some(Bytes::from_static(b"row")), expire_at: Some(at) })
}

/// What a store with `content` answers.
fn rows_of(content: &Content, question: &RowRange) -> Vec<(Arc<str>, Image)> {
    let rows = content.iter().map(|(n, expire_at)| (sort(*n), image(*expire_at))).filter(|(_, image)| image.val.is_some());
    let wanted = |sort: &str| sort.starts_with(&*question.prefix) && question.start.as_deref().is_none_or(|start| sort >= start);
    let mut rows: Vec<_> = rows.filter(|(sort, _)| wanted(sort)).collect();
    rows.sort_by(|one, two| one.0.cmp(&two.0));
    rows.truncate(question.limit);
    rows
}

fn content() -> impl Strategy<Value = Content> {
    proptest::collection::btree_map(0..60u8, proptest::option::of(1..20i64), 0..60)
}

proptest! {
    #[test]
    fn a_range_is_what_a_plain_fold_of_store_and_memory_gives(
        store in content(),
        memory in content(),
        limit in 1..12usize,
        after in proptest::option::of(0..60u8),
        now in 0..20i64,
    ) {
        let read = RangeRead { prefix: "r/".to_owned(), after: after.map(|n| format!("r/{n:03}")), limit };
        let place = (0, "subject".into(), read.clone());
        let memory_rows: Vec<_> = memory.iter().map(|(n, expire_at)| (sort(*n), image(*expire_at))).collect();
        let in_memory = || memory_rows.iter().map(|(sort, image)| (sort, image));
        let mut ranges = Ranges::default();
        let mut pages = 0;
        while let Some(question) = ranges.question(&place, in_memory(), now) {
            let rows = rows_of(&store, &question);
            ranges.answer(0, question, &rows);
            pages += 1;
            prop_assert!(pages < 70, "it ends");
        }
        let told: Vec<_> = ranges.rows(&place, in_memory(), now).unwrap().into_iter().map(|(sort, _)| sort).collect();
        let mut fold = store;
        fold.extend(memory.clone());
        let live = fold.iter().filter(|(_, expire_at)| expire_at.is_some_and(|at| at > now)).map(|(n, _)| sort(*n));
        let wanted = |sort: &Arc<str>| sort.starts_with("r/") && read.after.as_deref().is_none_or(|after| &**sort > after);
        let expected: Vec<_> = live.filter(wanted).take(limit).collect();
        prop_assert_eq!(told, expected);
    }
}

#[test]
fn the_engines_own_rows_are_in_no_range() {
    let read = RangeRead { prefix: String::new(), after: None, limit: 5 };
    let place = (0, "subject".into(), read);
    let mut ranges = Ranges::default();
    let none = || std::iter::empty();
    let question = ranges.question(&place, none(), 0).unwrap();
    let row = Image { val: Some(Bytes::from_static(b"row")), expire_at: None };
    ranges.answer(0, question, &[("a".into(), row.clone()), ("~head".into(), row)]);
    let told = ranges.rows(&place, none(), 0).unwrap();
    assert_eq!(told.iter().map(|(sort, _)| &**sort).collect::<Vec<_>>(), ["a"]);
}
