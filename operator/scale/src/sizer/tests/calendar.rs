//! What the calendar asks for while nothing is known of the load.

use super::*;

/// One look at so many requests per second, on so many replicas, while the calendar asks for this.
fn ask(
    sizer: &mut Sizer,
    step: i64,
    rate: Option<f64>,
    calendar: Option<u32>,
    replicas: u32,
    owner: &Owner,
) -> SizeAdvice {
    let seen = Seen {
        requests: requests(rate),
        loads: &[],
        replicas,
        ready: replicas,
        expected: None,
        calendar,
        hurts: false,
    };
    sizer.decide(at(step), &seen, owner)
}

#[test]
fn before_a_load_is_known_the_calendar_adds_and_takes_nothing_away() {
    let mut one = sizer(1, 9, Archetype::Service);
    let mut said =
        |step, rate, calendar, replicas| ask(&mut one, step, rate, calendar, replicas, &Owner::Nobody);
    let on = said(0, None, Some(6), 2);
    assert_eq!((on.wanted, on.effect), (Some(6), SizeEffect::Scale), "{}", on.why);
    assert!(on.why.contains("OTLP") && on.why.contains("the calendar asks for at least 6"), "{}", on.why);
    let learning = said(1, Some(20.0), Some(6), 2);
    assert_eq!((learning.wanted, learning.effect), (Some(6), SizeEffect::Scale), "{}", learning.why);
    assert!(learning.why.contains("1 of 40 steps"), "{}", learning.why);
    // As many, more, and more than the bounds allow: none of them goes because of the calendar.
    for (step, asked, present) in [(2, 6, 6), (3, 3, 7), (4, 3, 12)] {
        let kept = said(step, Some(20.0), Some(asked), present);
        assert_eq!((kept.wanted, kept.effect), (Some(present), SizeEffect::Keep), "{}", kept.why);
    }
    let many = said(5, Some(20.0), Some(20), 2);
    assert_eq!((many.wanted, many.effect), (Some(9), SizeEffect::Scale), "{}", many.why);
    assert!(many.why.contains("9 within spec.scaling.replicas"), "{}", many.why);
    let over = said(6, Some(20.0), None, 6);
    assert_eq!((over.wanted, over.effect), (None, SizeEffect::Keep), "it is over: {}", over.why);
    assert!(!over.why.contains("calendar"), "{}", over.why);
}

#[test]
fn mode_and_owner_hold_for_what_the_calendar_asks_before_a_load_is_known() {
    let said = |mode, when_owned, owner: &Owner| {
        let scaling = ScalingPolicy { when_owned, ..scaling(mode) };
        let policy = policy(&scaling, Some(Bounds { min: 1, max: 9 }), Archetype::Service).unwrap();
        let mut one = Sizer::new(policy, 0.05, at(0)).unwrap();
        let said = ask(&mut one, 0, None, Some(6), 8, owner);
        (said.wanted, said.effect)
    };
    let hpa = |floor: u32| Owner::Hpa { name: "web".to_owned(), bounds: (floor, 9), peoples: (1, 9) };
    let (auto, drive) = (ScalingMode::Auto, WhenOwned::DriveBounds);
    let refused = said(auto, WhenOwned::Refuse, &hpa(1)).1;
    assert_eq!(refused, SizeEffect::Refuse);
    // The floor is what was asked for, not the eight that the autoscaler chose itself.
    let driven = said(auto, drive, &hpa(1));
    assert_eq!(driven, (Some(6), SizeEffect::DriveBounds { min: 6, max: 9 }));
    assert_eq!(said(auto, drive, &hpa(7)), (Some(7), SizeEffect::Keep), "a higher floor stays");
    let only_said = said(ScalingMode::Recommend, drive, &hpa(1));
    assert_eq!(only_said, (Some(6), SizeEffect::Recommend));
    assert_eq!(said(ScalingMode::Observe, drive, &hpa(1)), (Some(6), SizeEffect::Note));
}
