use super::*;

fn at(second: i64) -> Option<MicroTime> {
    let instant = homeostat_knowledge::Timestamp::from_second(1_000_000 + second).ok()?;
    Some(MicroTime::new(instant))
}

/// Begins at second 0.
fn incident(name: &str, detected: i64, mitigated: Option<i64>) -> IncidentFacts {
    let over = mitigated.map(|second| second + 30);
    IncidentFacts {
        namespace: Name::from("shop"),
        name: Name::from(name),
        state: Some(if over.is_some() { IncidentState::Resolved } else { IncidentState::Acting }),
        cause: Some("cart (Hung)".to_owned()),
        severity: Some(Severity::Critical),
        expected: false,
        instants: IncidentInstants {
            impact_start: at(0),
            detected: at(detected),
            acknowledged: at(detected + 1),
            mitigated: mitigated.and_then(at),
            resolved: over.and_then(at),
        },
        reopened: 0,
        handed_over: false,
        by_people: false,
    }
}

fn until(second: i64) -> Downtime<'static> {
    Downtime { until: at(second), prices: None }
}

fn action(incident: &str, state: ActionState) -> ActionFacts {
    ActionFacts {
        namespace: Name::from("shop"),
        incident: Some(Name::from(incident)),
        origin: Origin::Incident,
        state: Some(state),
        tells: false,
        undoes: false,
        approved: false,
        right: None,
        at: at(5),
    }
}

fn value(figures: &[KeyFigure], name: &str) -> String {
    let figure = figures.iter().find(|figure| figure.name == name).unwrap();
    format!("{}{}", figure.value, figure.unit.as_ref().map_or_else(String::new, |unit| format!(" {unit}")))
}

#[test]
fn the_times_of_an_incident_are_those_of_its_instants() {
    let actions = [
        action("a", ActionState::Verified),
        action("a", ActionState::Undone),
        ActionFacts { undoes: true, ..action("a", ActionState::Verified) },
        ActionFacts { tells: true, ..action("a", ActionState::Verified) },
        ActionFacts { at: None, ..action("a", ActionState::Refused) },
    ];
    let (summary, figures) = of_incident(&incident("a", 2, Some(12)), &actions);
    for (name, expected) in [
        ("State", "Resolved"),
        ("TopCause", "cart (Hung)"),
        ("TimeToDetect", "2.000 s"),
        ("TimeToAcknowledge", "1.000 s"),
        ("TimeToMitigate", "10.000 s"),
        ("TimeToRestore", "12.000 s"),
        ("TimeToResolve", "42.000 s"),
        ("Actions", "5"),
        ("ActionsSent", "2"),
        ("ActionsVerified", "1"),
        ("ActionsUndone", "1"),
        ("ActionsFailed", "0"),
        ("HandedOver", "no"),
    ] {
        assert_eq!(value(&figures, name), expected, "{name}");
    }
    assert_eq!(
        summary,
        "cart (Hung): detected after 2.0 s, restored after 12.0 s, resolved; 1 of 2 actions helped"
    );
}

#[test]
fn what_is_not_known_is_no_data_and_never_zero() {
    let nothing = IncidentFacts {
        state: None,
        cause: None,
        instants: IncidentInstants::default(),
        ..incident("a", 1, None)
    };
    let (summary, figures) = of_incident(&nothing, &[]);
    for name in ["State", "TopCause", "TimeToDetect", "TimeToMitigate", "TimeToRestore", "TimeToResolve"] {
        assert_eq!(value(&figures, name), NO_DATA, "{name}");
    }
    assert_eq!(summary, "cause not known: detected after no data, not restored; nothing was changed");
    let (_, figures) = of_period(&[], &[], until(60));
    assert_eq!(value(&figures, "Incidents"), "0", "that there was none is known");
    for name in ["MedianTimeToDetect", "P95TimeToDetect", "MedianTimeToRestore"] {
        assert_eq!(value(&figures, name), NO_DATA, "{name}");
    }
    assert!(
        of_nothing().iter().all(|figure| figure.value == NO_DATA),
        "nothing is kept: not even that is known"
    );
}

#[test]
fn a_clock_that_is_ahead_makes_no_negative_time() {
    let mut early = incident("a", 2, Some(12));
    early.instants.impact_start = at(20);
    let (_, figures) = of_incident(&early, &[]);
    assert_eq!(value(&figures, "TimeToDetect"), "0.000 s");
}

#[test]
fn a_period_has_percentiles_by_nearest_rank_and_counts_what_is_open_apart() {
    let mut incidents: Vec<IncidentFacts> =
        (1..=20).map(|second| incident(&format!("i-{second}"), second, Some(second + 10))).collect();
    incidents.push(incident("open", 40, None));
    incidents[0].handed_over = true;
    incidents[1].by_people = true;
    incidents.push(IncidentFacts { expected: true, ..incident("expected", 1, Some(2)) });
    let actions = [
        action("i-3", ActionState::Verified),
        ActionFacts { approved: true, ..action("i-4", ActionState::Verified) },
        action("i-5", ActionState::Undone),
        action("i-6", ActionState::Failed),
        ActionFacts { at: None, ..action("i-7", ActionState::Proposed) },
        ActionFacts { origin: Origin::Forecast, incident: None, ..action("", ActionState::Verified) },
        ActionFacts { origin: Origin::Schedule, incident: None, ..action("", ActionState::Sent) },
    ];
    let (summary, figures) = of_period(&incidents, &actions, until(60));
    for (name, expected) in [
        ("Incidents", "21"),
        ("IncidentsNotRestored", "1"),
        ("IncidentsOnlyExpected", "1"),
        ("MedianTimeToDetect", "11.000 s"),
        ("P95TimeToDetect", "20.000 s"),
        ("MeanTimeToAcknowledge", "1.000 s"),
        ("MeanTimeToMitigate", "10.000 s"),
        ("MedianTimeToRestore", "20.000 s"),
        ("P95TimeToRestore", "29.000 s"),
        ("HandedOver", "1"),
        ("HealedWithoutPerson", "17"),
        ("ActionsSent", "4"),
        ("ActionsVerified", "2"),
        ("ActionsUndone", "1"),
        ("ActionsFailed", "1"),
        ("ChangesByForecast", "1"),
        ("ChangesBySchedule", "1"),
    ] {
        assert_eq!(value(&figures, name), expected, "{name}");
    }
    assert_eq!(
        summary,
        "21 incidents, 1 not restored, 1 handed over; median time to detect 11.0 s, to restore 20.0 s; 2 of 4 repairs helped"
    );
}

#[test]
fn downtime_counts_once_what_overlaps_and_what_is_not_restored_until_the_end() {
    let down = |begin: i64, mitigated: Option<i64>| {
        let mut one = incident("a", begin, mitigated);
        one.instants.impact_start = at(begin);
        one
    };
    let of = |incidents: &[IncidentFacts], prices: Option<&Prices>| {
        let (_, figures) = of_period(incidents, &[], Downtime { until: at(100), prices });
        (value(&figures, "Downtime"), value(&figures, "DowntimeCost"))
    };
    let warned = IncidentFacts { severity: Some(Severity::Warning), ..down(50, Some(60)) };
    let expected = IncidentFacts { expected: true, ..down(50, Some(60)) };
    let incidents = [down(14, Some(20)), down(10, Some(16)), down(11, Some(12)), warned, expected];
    assert_eq!(of(&incidents, None).0, "10.000 s");
    let open = [down(0, Some(4)), down(90, None)];
    let prices = Prices {
        currency: Name::from("EUR"),
        core_hour: None,
        gibibyte_hour: None,
        downtime_hour: Some(900_000_000),
    };
    assert_eq!(of(&open, Some(&prices)), ("14.000 s".to_owned(), "3.50 EUR".to_owned()));
    let (_, so_far) = of_period(&open, &[], Downtime { until: None, prices: None });
    assert_eq!(value(&so_far, "Downtime"), "4.000 s", "the period goes on");
    let free = Prices { downtime_hour: None, ..prices };
    assert_eq!(of(&open, Some(&free)).1, NO_DATA);
    assert_eq!(of(&[], None), ("0.000 s".to_owned(), NO_DATA.to_owned()));
}

#[test]
fn wrong_are_those_of_which_it_is_known() {
    let wrong = |actions: &[ActionFacts]| {
        let (_, figures) = of_period(&[incident("a", 1, Some(2))], actions, until(60));
        (value(&figures, "WrongActions"), value(&figures, "ActionsJudged"))
    };
    let one = |right| ActionFacts { right, ..action("a", ActionState::Verified) };
    let said = |wrong: &str, judged: &str| (wrong.to_owned(), judged.to_owned());
    assert_eq!(wrong(&[]), said("0", "0"), "there was none");
    assert_eq!(wrong(&[one(None)]), said(NO_DATA, "0"), "nobody can tell yet");
    assert_eq!(wrong(&[one(None), one(Some(true)), one(Some(false))]), said("1", "2"));
    let never_sent = ActionFacts { at: None, ..one(Some(false)) };
    assert_eq!(
        wrong(&[one(Some(true)), never_sent]),
        said("0", "1"),
        "what was not done cannot have been wrong"
    );
    let size = ActionFacts { origin: Origin::Forecast, incident: None, ..one(Some(false)) };
    assert_eq!(wrong(&[one(Some(true)), size]), said("0", "1"), "sizes by forecast are no repairs");
}

#[test]
fn every_figure_fits_its_definition() {
    let long = IncidentFacts { cause: Some("x".repeat(320)), ..incident("a", 1, None) };
    for figure in of_incident(&long, &[]).1.into_iter().chain(of_period(&[], &[], until(60)).1) {
        assert!(figure.name.len() <= 63 && figure.name.starts_with(|first: char| first.is_ascii_uppercase()));
        assert!((1..=64).contains(&figure.value.chars().count()), "{}", figure.value);
    }
}
