//! What the parser and the checker accept, and where they point when they refuse.

#![allow(clippy::panic, clippy::expect_used, reason = "tests")]

use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::{ActionKind, FindingKind, Severity, SignedDuration};
use homeostat_playbooks::{
    After, LIBRARY, Playbook, PlaybookError, Problem, Rule, parse, parse_spec, shipped, with_own,
};
use std::fmt::Write as _;

fn playbook(spec: &str) -> Result<Playbook, PlaybookError> {
    parse(&format!(
        "apiVersion: homeostat.dev/v1alpha1\nkind: Playbook\nmetadata: {{ name: example }}\nspec:\n{spec}"
    ))
}

fn problems(spec: &str) -> Vec<Problem> {
    match playbook(spec) {
        Err(PlaybookError::Refused { problems, .. }) => problems,
        other => panic!("expected a refusal of\n{spec}\ngot {other:?}"),
    }
}

/// The one problem of a spec: its rule, its line within the spec (from 1) and its message.
fn problem(spec: &str) -> (Rule, u64, String) {
    let mut all = problems(spec);
    assert_eq!(all.len(), 1, "{all:?}");
    let one = all.remove(0);
    assert!(one.column > 0, "{one:?}");
    (one.rule, one.line - 4, one.message)
}

const EVICT: &str = "  trigger: { findings: [Hung] }\n  ladder:\n    - action: EvictPod\n      verify: { withinSeconds: 30 }\n";

#[test]
fn every_shipped_playbook_is_accepted_and_named_like_its_file() {
    let all = shipped();
    assert_eq!(all.len(), LIBRARY.len());
    for (playbook, (file, _)) in all.iter().zip(LIBRARY) {
        assert_eq!(&*playbook.name, file);
        assert_eq!(playbook.version, 0);
        assert!(!playbook.description.is_empty(), "{file} does not say what it is for");
        let last = playbook.ladder.last().expect("a ladder has steps");
        assert_eq!(last.action, ActionKind::Notify, "{file} does not end with people");
    }
}

#[test]
fn the_list_names_every_file_of_the_library() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/library");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .expect("the library folder")
        .map(|entry| entry.expect("readable").path().file_stem().expect("a name").display().to_string())
        .collect();
    files.sort();
    assert_eq!(files, LIBRARY.map(|(name, _)| name.to_owned()));
}

#[test]
fn every_kind_of_finding_has_a_shipped_playbook() {
    let all = shipped();
    for kind in FindingKind::ALL {
        let fitting: Vec<_> =
            all.iter().filter(|playbook| playbook.trigger.fits(kind, [kind].into_iter())).collect();
        let usual = fitting.iter().map(|playbook| playbook.priority).min();
        let usual: Vec<_> = fitting.iter().filter(|playbook| Some(playbook.priority) == usual).collect();
        assert_eq!(usual.len(), 1, "{kind}: one usual answer beside those for special cases: {usual:?}");
    }
}

#[test]
fn what_lies_outside_or_is_unknown_is_never_repaired() {
    for playbook in shipped() {
        let outside = [FindingKind::DependencyDown, FindingKind::NoData, FindingKind::NodeNotReady];
        if playbook.trigger.findings.iter().any(|kind| outside.contains(kind)) {
            assert!(
                playbook.ladder.iter().all(|rung| rung.action == ActionKind::Notify),
                "{}",
                playbook.name
            );
        }
    }
}

#[test]
fn a_playbook_of_ones_own_is_read_with_its_defaults() {
    let read = playbook(EVICT).expect("valid");
    assert!((read.trigger.minimum_confidence - 0.9).abs() < 1e-9);
    assert_eq!(read.ladder[0].after, After::Immediately);
    assert_eq!(read.ladder[0].times, 1);
    assert_eq!(read.ladder[0].severity, Severity::Critical);
    assert_eq!(read.limits.useless_actions, 2);
    assert_eq!(read.limits.give_up, SignedDuration::from_mins(10));
}

#[test]
fn the_spec_of_the_api_server_is_read_as_json_with_its_generation() {
    let json = r#"{"trigger":{"findings":["Slow"],"minimumConfidence":"0.95"},"priority":7,
        "ladder":[{"action":"EvictPod","to":"SickPod","after":"WhenStillAbnormal","afterSeconds":20,"undo":"Never",
                   "verify":{"withinSeconds":30,"expect":"ObjectivesMet"}},
                  {"action":"Notify","severity":"Warning"}]}"#;
    let read = parse_spec("mine", 4, json).expect("valid");
    assert_eq!((read.version, read.priority), (4, 7));
    assert_eq!(read.ladder[0].after, After::WhenStillAbnormal { age: SignedDuration::from_secs(20) });
    assert_eq!(read.ladder[1].severity, Severity::Warning);
    let numbers = r#"{"trigger":{"findings":["Slow"]},"limits":{"actions":3},"ladder":[{"action":"ScaleUp",
        "undo":"Restore","parameters":{"replicas":6},"verify":{"withinSeconds":60}}]}"#;
    let read = parse_spec("mine", 1, numbers).expect("numbers as the API server holds them");
    assert_eq!((read.ladder[0].replicas, read.limits.actions), (Some(6), 3));
}

#[test]
fn sizes_and_revisions_are_absolute_and_may_be_taken_back_where_there_is_a_state_before() {
    let read = playbook(
        "  trigger: { findings: [Slow] }
  ladder:
    - { action: ScaleUp, parameters: { replicas: '6' }, undo: Restore, verify: { withinSeconds: 60 } }
    - { action: RollBack, to: PreviousRevision, verify: { withinSeconds: 60 } }
    - { action: RollBack, parameters: { revision: order-7d }, verify: { withinSeconds: 60 } }
    - { action: Drain, to: SickNode, undo: Restore, verify: { withinSeconds: 60 } }
  limits: { uselessActions: 5 }
",
    )
    .expect("valid");
    assert_eq!((read.ladder[0].replicas, read.ladder[0].undo), (Some(6), Undo::Restore));
    assert_eq!((&read.ladder[1].revision, read.ladder[1].undo), (&None, Undo::None));
    assert_eq!(read.ladder[2].revision.as_deref(), Some("order-7d"));
    assert_eq!(read.ladder[3].undo, Undo::Restore, "the cordon of a drain");
}

#[test]
fn syntax_errors_name_line_and_column() {
    for (spec, line, column, hint) in [
        ("  trigger: { findings: [Hung] }\n  ladder: oops\n", 6, 11, "sequence"),
        ("  trigger: { findings: [Hung] }\n  ladders: []\n", 6, 3, "ladders"),
        ("  trigger: { findings: [Hung }\n  ladder: []\n", 5, 0, ""),
        (
            "  trigger: { findings: [Hung] }\n  ladder:\n    - { action: EvictPod, afterSeconds: soon }\n",
            7,
            41,
            "invalid u32",
        ),
    ] {
        match playbook(spec) {
            Err(PlaybookError::Syntax { line: at, column: found, message }) => {
                assert_eq!(at, line, "{spec}: {message}");
                assert!(column == 0 || found == column, "{spec}: column {found}: {message}");
                assert!(message.contains(hint), "{message}");
            }
            other => panic!("{spec}: {other:?}"),
        }
    }
}

/// Within the bounds of length and depth, and too much for every decision.
fn costly() -> String {
    let list = vec!["1"; 120].join(",");
    let body = vec!["x"; 100].join(",");
    format!("[{list}].all(x, size([{body}]) > 0)")
}

#[test]
fn values_are_written_and_never_filled_in() {
    for text in [
        "{{ pod }}",
        "${POD}",
        "$(hostname)",
        "{% log %}",
        "<%= name %>",
        "a`id`",
        "a\nb",
        "../x",
        "a b",
        "A",
    ] {
        for action in ["RollBack", "ScaleUp", "ResizePod"] {
            let name = match action {
                "RollBack" => "revision",
                "ScaleUp" => "replicas",
                _ => "memory",
            };
            let undo = if action == "RollBack" { "" } else { "undo: Never, " };
            let quoted = serde_json::to_string(text).expect("plain text");
            let spec = format!(
                "  trigger: {{ findings: [Hung] }}\n  ladder:\n    - {{ action: {action}, {undo}verify: {{ withinSeconds: 30 }}, parameters: {{ {name}: {quoted} }} }}\n"
            );
            let (rule, line, message) = problem(&spec);
            assert!(matches!(rule, Rule::Template | Rule::Value), "{rule:?} {message}");
            assert!(line == 3 && message.contains(name) && !message.contains('\n'), "{message}");
        }
    }
}

#[test]
fn the_example_is_a_playbook_that_can_be_applied() {
    let text = include_str!("../../crds/examples/playbook.yaml");
    parse(text).expect("the example is accepted");
}

#[test]
fn each_rule_refuses_at_the_right_line() {
    let with = |step: &str| format!("  trigger: {{ findings: [Hung] }}\n  ladder:\n    - {step}\n");
    let verify = "verify: { withinSeconds: 30 }";
    for (spec, rule, line, hint) in [
        ("  trigger: { findings: [Hung] }\n  ladder: []\n".to_owned(), Rule::LadderLength, 2, "0 steps"),
        (
            format!(
                "  trigger: {{ findings: [Hung] }}\n  ladder:\n    - action: Notify\n    - {{ action: EvictPod, {verify} }}\n"
            ),
            Rule::Unreachable,
            4,
            "never reached",
        ),
        (with(&format!("{{ action: Reboot, {verify} }}")), Rule::Action, 3, "no action is called Reboot"),
        (with(&format!("{{ action: ResizePod, {verify} }}")), Rule::Undo, 3, "Restore or Never"),
        (
            with(&format!("{{ action: ResizePod, undo: Never, {verify}, parameters: {{ memory: 150% }} }}")),
            Rule::RelativeTarget,
            3,
            "absolute",
        ),
        (
            with(&format!("{{ action: ResizePod, undo: Never, {verify}, parameters: {{ memory: much }} }}")),
            Rule::Value,
            3,
            "512Mi",
        ),
        (
            with(&format!("{{ action: RollBack, {verify}, parameters: {{ revision: 'a; reboot' }} }}")),
            Rule::Value,
            3,
            "the name of a revision",
        ),
        (
            with(&format!(
                "{{ action: RollBack, {verify}, parameters: {{ revision: '{{{{ pod.name }}}}' }} }}"
            )),
            Rule::Template,
            3,
            "never made from telemetry",
        ),
        (
            with(&format!("{{ action: EvictPod, requires: Recommend, {verify} }}")),
            Rule::Level,
            3,
            "too low for EvictPod",
        ),
        (format!("{EVICT}  levelNeeded: Observe\n"), Rule::Level, 5, "too low for EvictPod"),
        (
            format!(
                "{EVICT}  when: [{{ name: x, expression: 'incident.findings.all(a, incident.findings.all(b, a == b))' }}]\n"
            ),
            Rule::Expression,
            5,
            "comprehensions inside each other",
        ),
        (
            format!("{EVICT}  when: [{{ name: x, expression: '{}' }}]\n", costly()),
            Rule::Expression,
            5,
            "steps, at most 10000",
        ),
        (with(&format!("{{ action: RollBack, {verify} }}")), Rule::RelativeTarget, 3, "PreviousRevision"),
        (
            with(&format!("{{ action: ScaleUp, undo: Never, {verify}, parameters: {{ replicas: '+2' }} }}")),
            Rule::RelativeTarget,
            3,
            "absolute",
        ),
        (
            with(&format!("{{ action: Cordon, to: SickPod, undo: Never, {verify} }}")),
            Rule::RelativeTarget,
            3,
            "SickNode",
        ),
        (with(&format!("{{ action: Cordon, {verify} }}")), Rule::Undo, 3, "Restore or Never"),
        (with(&format!("{{ action: Drain, {verify} }}")), Rule::Undo, 3, "Restore or Never"),
        (
            with(&format!(
                "{{ action: Drain, undo: Restore, {verify} }}\n    - {{ action: Uncordon, {verify} }}"
            )),
            Rule::Loop,
            4,
            "takes back what step 1 does",
        ),
        (
            with(&format!(
                "{{ action: Cordon, undo: Restore, {verify} }}\n    - {{ action: Uncordon, {verify} }}"
            )),
            Rule::Loop,
            4,
            "takes back what step 1 does",
        ),
        (
            with(&format!(
                "{{ action: EvictPod, times: 2, {verify} }}\n    - {{ action: RollingRestart, {verify} }}"
            )),
            Rule::Unreachable,
            4,
            "uselessActions (2) ends the ladder",
        ),
        (
            with(&format!(
                "{{ action: ScaleUp, times: 2, undo: Never, {verify} }}\n    - {{ action: EvictPod, {verify} }}"
            )),
            Rule::Unreachable,
            4,
            "tried 2 times, and uselessActions (2) ends the ladder",
        ),
        (
            with(&format!("{{ action: EvictPod, {verify}, parameters: {{ gracePeriodSeconds: 0 }} }}")),
            Rule::Value,
            3,
            "a number from 1 to 3600",
        ),
        (
            with(&format!("{{ action: EvictPod, {verify}, parameters: {{ pods: '+1' }} }}")),
            Rule::RelativeTarget,
            3,
            "absolute",
        ),
        (
            with(&format!("{{ action: EvictPod, {verify}, parameters: {{ pods: 50% }} }}")),
            Rule::RelativeTarget,
            3,
            "absolute",
        ),
        (
            with(&format!("{{ action: EvictPod, to: SickNode, {verify} }}")),
            Rule::RelativeTarget,
            3,
            "SickPod",
        ),
        (with("{ action: EvictPod }"), Rule::Verification, 3, "add verify"),
        (with("{ action: EvictPod, verify: { withinSeconds: 0 } }"), Rule::Verification, 3, "1 to 3600"),
        (
            with("{ action: Notify, verify: { withinSeconds: 9 } }"),
            Rule::Verification,
            3,
            "nothing to verify",
        ),
        (with(&format!("{{ action: EvictPod, after: Tomorrow, {verify} }}")), Rule::After, 3, "Tomorrow"),
        (
            with(&format!("{{ action: EvictPod, after: InQuietMinute, {verify} }}")),
            Rule::After,
            3,
            "cannot wait",
        ),
        (
            with(&format!("{{ action: EvictPod, undo: Restore, {verify} }}")),
            Rule::Undo,
            3,
            "cannot be undone",
        ),
        (with(&format!("{{ action: EvictPod, times: 9, {verify} }}")), Rule::Value, 3, "1 to 5"),
        (with("{ action: Notify, severity: Loud }"), Rule::Value, 3, "Loud"),
        (with(&format!("{{ action: EvictPod, requires: Always, {verify} }}")), Rule::Value, 3, "Always"),
        (EVICT.replace("Hung", "Sick"), Rule::Trigger, 1, "no finding is called Sick"),
        (EVICT.replace("[Hung]", "[Hung, Hung]"), Rule::Trigger, 1, "twice"),
        (EVICT.replace("[Hung]", "[]"), Rule::Trigger, 1, "no finding and no cause"),
        (EVICT.replace("[Hung]", "[Hung], minimumConfidence: '1.5'"), Rule::Trigger, 1, "0 to 1"),
        (format!("{EVICT}  when: [{{ name: x, expression: 'pod.ip == 1' }}]\n"), Rule::Expression, 5, "pod"),
        (
            format!(
                "{EVICT}  when:\n    - {{ name: x, expression: 'true' }}\n    - {{ name: x, expression: 'true' }}\n"
            ),
            Rule::Expression,
            7,
            "two conditions",
        ),
        (format!("{EVICT}  limits: {{ actions: 0 }}\n"), Rule::Value, 5, "1 to 100"),
        (
            with(&format!("{{ action: EvictPod, after: WhenStillAbnormal, afterSeconds: 900, {verify} }}")),
            Rule::After,
            3,
            "giveUpSeconds",
        ),
        (
            with(&format!("{{ action: EvictPod, after: WhenKubeletGaveUp, afterSeconds: 900, {verify} }}")),
            Rule::After,
            3,
            "giveUpSeconds (600): people take over before",
        ),
    ] {
        let (found, at, message) = problem(&spec);
        assert_eq!((found, at), (rule, line), "{spec}\n{message}");
        assert!(message.contains(hint), "{message}");
    }
}

#[test]
fn everything_wrong_is_told_at_once_in_the_order_of_the_text() {
    let all = problems(
        "  trigger: { findings: [Sick] }\n  ladder:\n    - { action: Reboot }\n    - { action: EvictPod }\n  limits: { actions: 0 }\n",
    );
    let rules: Vec<Rule> = all.iter().map(|problem| problem.rule).collect();
    assert_eq!(rules, [Rule::Trigger, Rule::Action, Rule::Verification, Rule::Value]);
    let text = PlaybookError::Refused { name: "example".to_owned(), problems: all }.to_string();
    assert!(text.starts_with("playbook example is refused: line 5, column 25: no finding"), "{text}");
}

#[test]
fn the_header_is_that_of_a_playbook() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: { name: UPPER }\nspec:\n".to_owned() + EVICT;
    match parse(&text) {
        Err(PlaybookError::Refused { problems, .. }) => {
            assert_eq!(
                problems.iter().map(|p| (p.rule, p.line)).collect::<Vec<_>>(),
                [(Rule::Header, 1), (Rule::Header, 2), (Rule::Header, 3)]
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn hostile_texts_are_refused_without_harm() {
    assert!(matches!(parse(&"a".repeat(70_000)), Err(PlaybookError::TooLong { length: 70_000 })));
    // Aliases that would unfold to a million nodes.
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..9 {
        let alias = format!("*a{}", level - 1);
        writeln!(bomb, "a{level}: &a{level} [{}]", [alias.as_str(); 10].join(",")).expect("a string grows");
    }
    for text in [bomb, "[".repeat(60_000), "{a: ".repeat(15_000), "\u{0}".to_owned(), "- ".repeat(30_000)] {
        assert!(matches!(parse(&text), Err(PlaybookError::Syntax { .. })));
    }
}

#[test]
fn ones_own_playbook_replaces_the_shipped_one_of_the_same_name() {
    let mut own = playbook(EVICT).expect("valid");
    own.name = "hung-process".into();
    own.version = 3;
    let all = with_own(vec![own.clone()]).expect("names differ");
    assert_eq!(all.len(), LIBRARY.len());
    let used = all.iter().find(|playbook| &*playbook.name == "hung-process").expect("there");
    assert_eq!(used.version, 3);
    match with_own(vec![own.clone(), own]) {
        Err(PlaybookError::Refused { problems, .. }) => assert_eq!(problems[0].rule, Rule::DuplicateName),
        other => panic!("{other:?}"),
    }
}
