//! What a person sees who follows one action in a trace and in the log.

use crate::undo;
use crate::world::World;
use homeostat_execute::Executor;
use homeostat_knowledge::{ActionState, FindingKind, Parameters};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, Once};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// A span as it would be exported.
#[derive(Clone, Debug, Default)]
struct Span {
    name: String,
    parent: Option<u64>,
    fields: BTreeMap<String, String>,
}

#[derive(Default)]
struct Seen {
    spans: BTreeMap<u64, Span>,
    /// Message of each event, and the span that it is in.
    events: Vec<(String, Option<u64>)>,
}

/// Keeps all that is told.
#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Seen>>);

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Capture {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let parent = context.span(id).and_then(|span| span.parent()).map(|parent| parent.id().into_u64());
        let name = attributes.metadata().name().to_owned();
        let mut span = Span { name, parent, ..Span::default() };
        attributes.record(&mut Fields(&mut span.fields));
        self.0.lock().expect("nobody panicked").spans.insert(id.into_u64(), span);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut seen = self.0.lock().expect("nobody panicked");
        let span = seen.spans.get_mut(&id.into_u64()).expect("it was made");
        values.record(&mut Fields(&mut span.fields));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let state = fields.get("state").map(|state| format!(" {state}")).unwrap_or_default();
        let span = context.event_span(event).map(|span| span.id().into_u64());
        let told = (format!("{}{state}", fields["message"]), span);
        self.0.lock().expect("nobody panicked").events.push(told);
    }
}

impl Seen {
    fn roots(&self) -> Vec<(u64, &Span)> {
        let of_actions = self.spans.iter().filter(|(_, span)| span.name == "execute");
        of_actions.filter(|(_, span)| span.parent.is_none()).map(|(id, span)| (*id, span)).collect()
    }

    /// Names and outcomes of the spans right below one.
    fn stages(&self, parent: u64) -> Vec<(&str, &str)> {
        let below = self.spans.values().filter(|span| span.parent == Some(parent));
        below.map(|span| (span.name.as_str(), span.fields["outcome"].as_str())).collect()
    }

    /// The outermost span around one.
    fn root_of(&self, span: u64) -> u64 {
        self.spans[&span].parent.map_or(span, |parent| self.root_of(parent))
    }
}

/// Somebody listens in each thread. What was first reached in a thread where nobody does would stay silent for good, in
/// [`capture`]'s too.
pub fn heard_everywhere() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        tracing::subscriber::set_global_default(tracing_subscriber::registry())
            .expect("only this one is for all threads");
    });
}

/// Whatever is told in this thread from here on.
fn capture() -> (Capture, tracing::subscriber::DefaultGuard) {
    let capture = Capture::default();
    let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(capture.clone()));
    (capture, guard)
}

#[tokio::test(start_paused = true)]
async fn one_action_is_one_trace_with_a_span_for_each_stage() {
    let (capture, _guard) = capture();
    let world = World::new(FindingKind::Hung);
    let executor: Executor<_, _, _> = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let id = executor.start(&plan, Some(finding)).expect("begins");
    executor.drain().await;

    let seen = capture.0.lock().expect("nobody panicked");
    let roots = seen.roots();
    let [(root, span)] = roots.as_slice() else { panic!("one trace: {roots:?}") };
    for (field, value) in [
        ("action", id.to_string()),
        ("incident", plan.incident.to_string()),
        ("kind", "EvictPod".to_owned()),
        ("target.kind", "Pod".to_owned()),
        ("target.namespace", plan.steps[0].target.key.namespace.to_string()),
        ("target.name", plan.steps[0].target.key.name.to_string()),
        ("outcome", "Verified".to_owned()),
    ] {
        assert_eq!(span.fields.get(field), Some(&value), "{field}");
    }
    let expected = [
        ("plan", "Admitted"),
        ("guards", "Admitted"),
        ("effect", "Verifying"),
        ("verify", "Verifying"),
        ("close", "Verified"),
    ];
    assert_eq!(seen.stages(*root), expected);
    let told: Vec<&str> = seen.events.iter().map(|(text, _)| text.as_str()).collect();
    for step in ["Admitted", "Claimed", "Sent", "Verifying", "Verified"] {
        assert!(told.contains(&format!("action moved on {step}").as_str()), "{step}: {told:?}");
    }
    for (text, span) in &seen.events {
        let span = span.unwrap_or_else(|| panic!("`{text}` is outside of the trace"));
        assert_eq!(seen.root_of(span), *root, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_back_is_in_the_trace_of_what_did_not_help() {
    let (capture, _guard) = capture();
    let world = undo::world();
    undo::run(&world).await;
    let (done, undo) = (undo::end(&world, false), undo::end(&world, true));

    let seen = capture.0.lock().expect("nobody panicked");
    let roots = seen.roots();
    let [(root, span)] = roots.as_slice() else { panic!("one trace: {roots:?}") };
    assert_eq!((&span.fields["action"], &span.fields["outcome"][..]), (&done.id.to_string(), "Undone"));
    assert_eq!(seen.stages(*root).last(), Some(&("close", "Undone")));
    let inner = seen.spans.iter().find(|(_, span)| span.fields.get("action") == Some(&undo.id.to_string()));
    let (id, inner) = inner.expect("the undo has a span");
    assert_eq!((inner.name.as_str(), &inner.fields["outcome"][..]), ("execute", "Verified"));
    assert_eq!(seen.root_of(*id), *root);
    assert_eq!(seen.spans[&inner.parent.expect("inside")].name, "close");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_says_so_in_its_trace_and_goes_no_further() {
    let (capture, _guard) = capture();
    let world = World::new(FindingKind::Hung);
    world.lock().set_workload(|policy| policy.paused = true);
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let record = world.executor().run(&plan, Some(finding)).await.expect("it is judged");
    assert_eq!(record.state, ActionState::Refused);

    let seen = capture.0.lock().expect("nobody panicked");
    let roots = seen.roots();
    let [(root, span)] = roots.as_slice() else { panic!("one trace: {roots:?}") };
    assert_eq!(span.fields["outcome"], "Refused");
    assert_eq!(seen.stages(*root), [("plan", "Admitted"), ("guards", "Refused")]);
}
