//! With how many pods at once a run starts that works off a backlog: its number of parts, and why.
//!
//! Fewest that are done in time. As many items are counted as wait now, or as former runs had, whichever is more: a queue
//! that the same moment fills looks empty when its run starts. What is not known changes nothing: the number stays that
//! the Job is written with.

use super::items::ItemHistory;
use super::workers::parallelism;
use jiff::SignedDuration;

/// What is asked of a run, and what its Job allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Asks {
    /// Fewest that people want; one at least counts.
    pub min: u32,
    /// Most that people allow.
    pub max: u32,
    /// As the Job is written.
    pub written: u32,
    /// Pods that must end well; `None`: they share the work until one says that all is done.
    pub completions: Option<u32>,
    /// Each pod has a fixed part of the work.
    pub indexed: bool,
    /// Pods that have room in the capacity, or in the quota.
    pub room: u32,
    /// Seconds of one item, as declared.
    pub each: Option<f64>,
    /// Items that wait now; `None`: the source is silent.
    pub items: Option<f64>,
    /// Series of that source that are missing: there are more items than it says.
    pub missing: usize,
    /// Until the deadline, without the start of a pod.
    pub window: SignedDuration,
    /// Quantile of an item's time that is planned with, in deviations of the logarithm.
    pub deviations: f64,
}

/// With how many, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// Pods at once that the run is planned with.
    pub pods: u32,
    /// Whether that was chosen here; else the Job keeps the number that it is written with.
    pub chosen: bool,
    /// Seconds that the run takes with them; `None`: not known by its items.
    pub seconds: Option<f64>,
    /// Why, in a few words and numbers.
    pub reason: String,
    /// With as many as can be it is late by about so much.
    pub late: Option<SignedDuration>,
}

/// The number of parts of a run that starts now.
pub fn parts(asks: &Asks, history: &ItemHistory) -> Parts {
    let written = asks.written.min(asks.completions.unwrap_or(u32::MAX)).max(1);
    let stay = |why: String| Parts {
        pods: written,
        chosen: false,
        seconds: None,
        reason: format!("{} as the Job is written: {why}", at_once(written)),
        late: None,
    };
    if asks.indexed {
        return stay("completionMode Indexed gives each pod a fixed part".to_owned());
    }
    let forecast = history.forecast();
    let usable = asks.items.filter(|items| items.is_finite() && *items >= 0.0);
    let lacks = asks.items.map_or_else(
        || "the backlog is silent".to_owned(),
        |wrong| format!("the backlog gave {wrong} (no number of items: correct what scaling.backlog asks)"),
    );
    let (items, whence) = match (usable, forecast) {
        (Some(items), Some(forecast)) if forecast > items => {
            (forecast, format!("90th percentile of {} runs, {items:.0} wait", history.runs()))
        }
        (Some(items), _) if asks.missing > 0 => {
            (items, format!("wait, and {} series of the backlog are missing", asks.missing))
        }
        (Some(items), _) => (items, "wait".to_owned()),
        (None, Some(forecast)) => (forecast, format!("90th percentile of {} runs, {lacks}", history.runs())),
        (None, None) => return stay(format!("{lacks} and no run of it was seen")),
    };
    let (each, by) = match (history.seconds(asks.deviations), asks.each) {
        (Some(learnt), _) => (learnt, format!("learnt from {} runs", history.timed())),
        (None, Some(declared)) => (declared, "declared".to_owned()),
        (None, None) => {
            return stay(format!(
                "seconds per item are learnt from 5 runs, {} were seen; scaling.backlog.secondsPerItem gives them before",
                history.timed()
            ));
        }
    };
    let limits = [
        (Some(asks.max), "scaling.parallelism.max"),
        (asks.completions, "the Job's completions: no more pods than that ever run"),
        (Some(asks.room), "the room that there is"),
    ];
    let (most, limit) = limits
        .into_iter()
        .filter_map(|(most, why)| Some((most?.max(1), why)))
        .min_by_key(|(most, _)| *most)
        .unwrap_or((1, "nothing"));
    let wanted = match parallelism(items, each, asks.window, (asks.min.max(1), most)) {
        Ok(wanted) => wanted,
        Err(error) => return stay(error.to_string()),
    };
    let pods = wanted.workers;
    let takes = (items / f64::from(pods)).ceil() * each;
    let over = takes - asks.window.as_secs_f64();
    let bound = if pods == most { format!("; {most} at most by {limit}") } else { String::new() };
    Parts {
        pods,
        chosen: true,
        // The last item of the pod with the most; an empty queue takes as long as one item, for want of better.
        seconds: Some(takes.max(each)),
        reason: format!("{} for {} ({whence}; {by}){bound}", at_once(pods), wanted.reason),
        late: (items > 0.0 && over > 0.0).then(|| super::seconds(over)),
    }
}

fn at_once(pods: u32) -> String {
    if pods == 1 { "1 pod at once".to_owned() } else { format!("{pods} pods at once") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(items: Option<f64>) -> Asks {
        Asks {
            min: 1,
            max: 8,
            written: 2,
            completions: None,
            indexed: false,
            room: 100,
            each: Some(30.0),
            items,
            missing: 0,
            window: SignedDuration::from_mins(10),
            deviations: 0.8,
        }
    }

    fn nothing() -> ItemHistory {
        ItemHistory::default()
    }

    fn runs(count: u32, items: f64, seconds: f64) -> ItemHistory {
        let mut history = nothing();
        (0..count).for_each(|_| history.push(items, 1, items * seconds));
        history
    }

    #[test]
    fn as_many_as_it_takes_and_no_more() {
        let pods = |items| parts(&asks(Some(items)), &nothing()).pods;
        assert_eq!([0.0, 20.0, 21.0, 70.0, 160.0].map(pods), [1, 1, 2, 4, 8]);
        let four = parts(&asks(Some(70.0)), &nothing());
        assert_eq!((four.chosen, four.seconds, four.late), (true, Some(540.0), None));
        assert!(four.reason.contains("70 items of 30 s each in 600 s (wait; declared)"), "{}", four.reason);
        let least = parts(&Asks { min: 3, ..asks(Some(1.0)) }, &nothing());
        assert_eq!(least.pods, 3, "people want no fewer");
        let zero = parts(&Asks { min: 0, ..asks(Some(0.0)) }, &nothing());
        assert_eq!(zero.pods, 1, "a run that is let go has a pod");
    }

    #[test]
    fn late_although_at_the_most_says_by_how_much_and_what_the_most_is() {
        let late = parts(&asks(Some(400.0)), &nothing());
        assert_eq!((late.pods, late.late), (8, Some(SignedDuration::from_mins(15))));
        assert!(late.reason.contains("8 at most by scaling.parallelism.max"), "{}", late.reason);
        let room = parts(&Asks { room: 3, ..asks(Some(400.0)) }, &nothing());
        assert_eq!(room.pods, 3);
        assert!(room.reason.contains("room"), "{}", room.reason);
        let over = parts(&Asks { window: SignedDuration::from_secs(-60), ..asks(Some(2.0)) }, &nothing());
        assert_eq!((over.pods, over.late), (2, Some(SignedDuration::from_secs(90))));
    }

    #[test]
    fn completions_bound_it_and_an_indexed_job_keeps_its_number() {
        let few = parts(&Asks { completions: Some(3), min: 4, ..asks(Some(400.0)) }, &nothing());
        assert_eq!((few.pods, few.chosen), (3, true));
        assert!(few.reason.contains("completions"), "{}", few.reason);
        let indexed =
            parts(&Asks { indexed: true, completions: Some(9), written: 5, ..asks(Some(400.0)) }, &nothing());
        assert_eq!((indexed.pods, indexed.chosen, indexed.seconds), (5, false, None));
        assert!(indexed.reason.contains("completionMode Indexed"), "{}", indexed.reason);
    }

    #[test]
    fn what_former_runs_had_counts_where_it_is_more_or_the_source_is_silent() {
        let seen = runs(4, 70.0, 30.0);
        assert_eq!(parts(&asks(Some(0.0)), &seen).pods, 4, "the beat has not filled the queue yet");
        assert_eq!(parts(&asks(Some(150.0)), &seen).pods, 8, "more wait than ever before");
        let silent = parts(&asks(None), &seen);
        assert_eq!((silent.pods, silent.chosen), (4, true));
        assert!(silent.reason.contains("silent") && silent.reason.contains("4 runs"), "{}", silent.reason);
        let part = parts(&Asks { missing: 2, ..asks(Some(150.0)) }, &seen);
        assert!(part.reason.contains("2 series"), "{}", part.reason);
    }

    #[test]
    fn what_is_not_known_leaves_the_number_as_it_is_written_and_says_so() {
        let silent = parts(&asks(None), &nothing());
        assert_eq!((silent.pods, silent.chosen, silent.seconds), (2, false, None));
        assert!(silent.reason.contains("silent and no run"), "{}", silent.reason);
        let unknown = Asks { each: None, ..asks(Some(70.0)) };
        let untaught = parts(&unknown, &runs(4, 70.0, 30.0));
        assert_eq!((untaught.pods, untaught.chosen), (2, false));
        assert!(untaught.reason.contains("from 5 runs, 4 were seen"), "{}", untaught.reason);
        let taught = parts(&unknown, &runs(5, 70.0, 30.0));
        assert!(taught.chosen && taught.pods >= 4, "{taught:?}");
        assert!(taught.reason.contains("learnt from 5 runs"), "{}", taught.reason);
        for (value, said) in [(f64::NAN, "gave NaN"), (f64::INFINITY, "gave inf"), (-3.0, "gave -3")] {
            let wrong = parts(&asks(Some(value)), &nothing());
            assert_eq!((wrong.pods, wrong.chosen), (2, false));
            assert!(wrong.reason.contains(said) && wrong.reason.contains("correct what"), "{wrong:?}");
            let before = parts(&asks(Some(value)), &runs(20, 70.0, 30.0));
            assert!(before.chosen && before.reason.contains(said), "{before:?}");
        }
    }

    #[test]
    fn what_was_learnt_of_an_item_counts_more_than_what_was_declared() {
        let slower = parts(&asks(Some(20.0)), &runs(20, 20.0, 90.0));
        assert!(slower.pods >= 4 && slower.reason.contains("learnt"), "{slower:?}");
    }
}
