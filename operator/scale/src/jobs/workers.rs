//! How many workers for a backlog with a deadline, from zero and to zero; how many parts of a periodic job at a time.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Bounds and habits of the workers of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bounds {
    /// Fewest; zero lets them go.
    pub min: u32,
    /// Most.
    pub max: u32,
    /// Without work for so long before they go.
    pub idle: SignedDuration,
    /// From the order of a worker until it takes its first message.
    pub start: SignedDuration,
}

/// What was seen of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Messages that wait or are worked on; `None`: the source is silent.
    pub messages: Option<f64>,
    /// Seconds that a worker takes for one, as planned (a high quantile); `None`: not known yet.
    pub seconds_per_message: Option<f64>,
    /// When all must be done.
    pub due: Timestamp,
    /// When messages were last seen.
    pub last_busy: Timestamp,
    /// When the calendar next brings messages, and how many are forecast (90th percentile).
    pub next: Option<(Timestamp, f64)>,
    /// Workers that are ready now.
    pub workers: u32,
}

/// How many, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Workers.
    pub workers: u32,
    /// Why, in a few words and numbers.
    pub reason: String,
    /// With as many as allowed it is late by about so much.
    pub late: Option<SignedDuration>,
}

/// What is wrong with the input.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WorkersError {
    /// Bounds.
    #[error("at least {min} workers but at most {max}; set min to {max} or less, or raise max")]
    Bounds {
        /// Fewest.
        min: u32,
        /// Most.
        max: u32,
    },
    /// A measurement.
    #[error("{what} is {value}; its source must give a number of zero or more")]
    Number {
        /// Which.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// A span of time.
    #[error("{what} is {value:#}; give zero or more")]
    Span {
        /// Which.
        what: &'static str,
        /// Its value.
        value: SignedDuration,
    },
}

/// Workers that a queue needs now. Enough that the backlog is done by its deadline, at least one when there is any; the
/// forecast backlog's workers as early as they need to start; none after `idle` without work, if `min` is zero.
/// A silent source changes nothing.
pub fn workers(now: Timestamp, bounds: &Bounds, queue: &Queue) -> Result<Wanted, WorkersError> {
    check(bounds, queue)?;
    let held = queue.workers.clamp(bounds.min, bounds.max);
    let Some(messages) = queue.messages else {
        let reason = format!("queue length unknown: {held} workers are kept");
        return Ok(Wanted { workers: held, reason, late: None });
    };
    let coming = queue
        .next
        .filter(|(at, forecast)| *forecast > 0.0 && at.duration_since(now) <= bounds.start && *at >= now);
    if messages <= 0.0 && coming.is_none() {
        let quiet = now.duration_since(queue.last_busy);
        if quiet < bounds.idle {
            let reason =
                format!("empty for {} s, workers go after {} s", quiet.as_secs(), bounds.idle.as_secs());
            return Ok(Wanted { workers: held, reason, late: None });
        }
        let reason = format!("empty for {} s", quiet.as_secs());
        return Ok(Wanted { workers: bounds.min, reason, late: None });
    }
    let (load, what) = match coming {
        Some((at, forecast)) => {
            (messages + forecast, format!("{messages:.0} messages and {forecast:.0} forecast for {at}"))
        }
        None => (messages, format!("{messages:.0} messages")),
    };
    let Some(seconds) = queue.seconds_per_message else {
        // Nothing is known of the work: one worker per message, so that nothing is late for want of knowledge.
        let wanted = (load.ceil() as u32).clamp(bounds.min.max(1).min(bounds.max), bounds.max);
        let reason = format!("{what}, time per message unknown: one worker each");
        return Ok(Wanted { workers: wanted, reason, late: None });
    };
    // Those that are ready work already, others after their start; each does whole messages only.
    let until = queue.due.duration_since(now).as_secs_f64();
    let left = until - bounds.start.as_secs_f64();
    let whole = |left: f64| if seconds > 0.0 { (left / seconds).floor().max(0.0) } else { f64::INFINITY };
    let (each, new) = (whole(until), whole(left));
    let ready = f64::from(queue.workers);
    let needed = if each >= 1.0 && load <= ready * each {
        load / each
    } else {
        let rest = load - if ready > 0.0 { ready * each } else { 0.0 };
        ready + if new >= 1.0 { rest / new } else { rest }
    };
    let needed = needed.ceil().clamp(1.0, load.ceil().max(1.0));
    let wanted =
        (needed.min(f64::from(u32::MAX)) as u32).clamp(bounds.min.max(1).min(bounds.max), bounds.max);
    let there = ready.min(f64::from(wanted));
    let takes = takes(load, seconds, (there, f64::from(wanted) - there), bounds.start.as_secs_f64());
    let over = takes - until;
    let late = (over > 0.0).then(|| super::seconds(over));
    let reason = format!("{what} of {seconds:.0} s each, {left:.0} s until they are due");
    Ok(Wanted { workers: wanted, reason, late })
}

/// Seconds until the last of so many messages is done, by those that are ready and those that are only after `start`.
fn takes(load: f64, seconds: f64, (ready, new): (f64, f64), start: f64) -> f64 {
    if seconds <= 0.0 {
        return if ready > 0.0 { 0.0 } else { start };
    }
    let load = load.ceil();
    let whole = |left: f64| (left.max(0.0) / seconds + 1e-9).floor();
    let done = |after: f64| ready * whole(after) + new * whole(after - start);
    // Not before it would be if messages could be cut; whole ones end one message later at the latest.
    let alone = load * seconds / ready;
    let cut = if new > 0.0 && alone > start { (load * seconds + new * start) / (ready + new) } else { alone };
    let next = |from: f64| from + seconds * ((cut - from) / seconds - 1e-9).ceil().max(0.0);
    let (one, other) = (next(0.0), next(start));
    let ends = [one.min(other), one.max(other)];
    ends.into_iter().find(|end| done(*end) >= load).unwrap_or(cut + seconds)
}

/// Parts of a periodic job that run at a time, so that `items` (90th percentile of their forecast) of `seconds` each are
/// done within its window. At least one and `least`, but never more than `most`.
pub fn parallelism(
    items: f64,
    seconds: f64,
    window: SignedDuration,
    (least, most): (u32, u32),
) -> Result<Wanted, WorkersError> {
    number("items", Some(items))?;
    number("secondsPerItem", Some(seconds))?;
    if most == 0 {
        return Err(WorkersError::Bounds { min: 1, max: 0 });
    }
    let left = window.as_secs_f64().max(0.0);
    let each = if seconds > 0.0 { (left / seconds).floor() } else { f64::INFINITY };
    let needed = if each >= 1.0 { (items / each).ceil() } else { items };
    let wanted = (needed.min(f64::from(u32::MAX)) as u32).clamp(least.clamp(1, most), most);
    let over = (items / f64::from(wanted)).ceil() * seconds - left;
    let late = (over > 0.0).then(|| super::seconds(over));
    let reason = format!("{items:.0} items of {seconds:.0} s each in {left:.0} s");
    Ok(Wanted { workers: wanted, reason, late })
}

fn check(bounds: &Bounds, queue: &Queue) -> Result<(), WorkersError> {
    if bounds.min > bounds.max {
        return Err(WorkersError::Bounds { min: bounds.min, max: bounds.max });
    }
    for (what, value) in [("idle", bounds.idle), ("start", bounds.start)] {
        if value.is_negative() {
            return Err(WorkersError::Span { what, value });
        }
    }
    number("queue length", queue.messages)?;
    number("seconds per message", queue.seconds_per_message)?;
    number("forecast", queue.next.map(|(_, forecast)| forecast))
}

fn number(what: &'static str, value: Option<f64>) -> Result<(), WorkersError> {
    match value {
        Some(value) if !value.is_finite() || value < 0.0 => Err(WorkersError::Number { what, value }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds =
        Bounds { min: 0, max: 10, idle: SignedDuration::from_mins(5), start: SignedDuration::from_secs(5) };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn queue(messages: f64) -> Queue {
        Queue {
            messages: Some(messages),
            seconds_per_message: Some(60.0),
            due: at(605),
            last_busy: at(0),
            next: None,
            workers: 3,
        }
    }

    #[test]
    fn enough_for_the_deadline_and_no_more() {
        // Ten minutes, a minute each: ten messages per worker.
        assert_eq!(workers(at(0), &BOUNDS, &queue(25.0)).unwrap().workers, 3);
        assert_eq!(workers(at(0), &BOUNDS, &queue(1.0)).unwrap().workers, 1);
        let crowd = workers(at(0), &BOUNDS, &queue(150.0)).unwrap();
        assert_eq!((crowd.workers, crowd.late), (10, Some(SignedDuration::from_mins(5))));
    }

    #[test]
    fn who_is_ready_works_while_others_start() {
        let slow = Bounds { start: SignedDuration::from_secs(300), ..BOUNDS };
        // 605 s are left: three that are ready do ten each, one that is new does five.
        assert_eq!(workers(at(0), &slow, &queue(30.0)).unwrap().workers, 3);
        assert_eq!(workers(at(0), &slow, &queue(31.0)).unwrap().workers, 4);
        assert_eq!(workers(at(0), &slow, &queue(41.0)).unwrap().workers, 6);
        // Ten seconds before the end nobody can begin one that ends in time; more than there are messages help nobody.
        let over = workers(at(595), &BOUNDS, &queue(4.0)).unwrap();
        assert_eq!((over.workers, over.late), (4, Some(SignedDuration::from_secs(55))));
    }

    #[test]
    fn from_zero_before_the_run_and_to_zero_after_it() {
        let mut idle = Queue { workers: 0, ..queue(0.0) };
        assert_eq!(workers(at(400), &BOUNDS, &idle).unwrap().workers, 0);
        idle.next = Some((at(404), 12.0));
        idle.due = at(1_009);
        let early = workers(at(400), &BOUNDS, &idle).unwrap();
        assert_eq!(early.workers, 2, "{}", early.reason);
        assert_eq!(workers(at(100), &BOUNDS, &queue(0.0)).unwrap().workers, 3, "not idle for long enough");
        assert_eq!(workers(at(301), &BOUNDS, &queue(0.0)).unwrap().workers, 0);
    }

    #[test]
    fn a_silent_source_keeps_what_is_there_never_zero() {
        let silent = Queue { messages: None, ..queue(0.0) };
        let kept = workers(at(9_999), &BOUNDS, &silent).unwrap();
        assert_eq!(kept.workers, 3);
        assert!(kept.reason.contains("unknown"), "{}", kept.reason);
    }

    #[test]
    fn bad_numbers_and_bounds_say_what_to_change() {
        for bad in [f64::NAN, -1.0, f64::INFINITY] {
            let error = workers(at(0), &BOUNDS, &queue(bad)).unwrap_err().to_string();
            assert!(error.contains("queue length") && error.contains("zero or more"), "{error}");
            assert!(parallelism(bad, 1.0, SignedDuration::from_mins(1), (1, 4)).is_err());
        }
        let crossed = Bounds { min: 11, ..BOUNDS };
        assert!(workers(at(0), &crossed, &queue(1.0)).unwrap_err().to_string().contains("raise max"));
    }

    #[test]
    fn parts_of_a_periodic_job_follow_its_forecast_size() {
        let parts = |items| parallelism(items, 30.0, SignedDuration::from_mins(10), (1, 8)).unwrap();
        assert_eq!(parts(20.0).workers, 1);
        assert_eq!(parts(70.0).workers, 4);
        assert_eq!((parts(400.0).workers, parts(400.0).late), (8, Some(SignedDuration::from_mins(15))));
        assert_eq!(parts(0.0).workers, 1);
    }
}
