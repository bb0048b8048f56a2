//! Who is asked: tenant and workload are known, switched on, and their level allows the action.

use super::{ActionFacts, GuardInput, Ruling};
use crate::actions::Asks;
use homeostat_knowledge::policy::{ControlPolicy, PLATFORM_TENANT, TenantPolicy};
use homeostat_knowledge::{ActionKind, GuardName, Level, Origin};

/// How far an action may go by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Nothing, not even a recommendation.
    Nothing,
    /// Say what would be done.
    Recommend,
    /// Do it after a person approved.
    Approve,
    /// Do it.
    Act,
}

/// How far an action of this kind may go: the tenant's level under the control plane's ceiling, compared with
/// what the action needs to run alone.
pub fn mode(kind: ActionKind, tenant: &TenantPolicy, control: &ControlPolicy) -> Mode {
    let Some(spec) = crate::actions::spec(kind) else { return Mode::Nothing };
    let level = tenant.level(kind).min(control.ceiling);
    if level >= spec.alone_at() {
        return Mode::Act;
    }
    match level {
        Level::Observe => Mode::Nothing,
        Level::Recommend => Mode::Recommend,
        Level::Approve | Level::ActBounded | Level::ActFull => Mode::Approve,
    }
}

/// As [`mode`], for one action: what needs a person's approval in any case never runs alone.
pub fn mode_of(action: &ActionFacts, tenant: &TenantPolicy, control: &ControlPolicy) -> Mode {
    if action.undo_of.is_some() {
        return Mode::Act; // Part of what was admitted once, whatever the level is now. Pauses still stop it.
    }
    let mode = mode(action.kind, tenant, control);
    // Replicas alone: the size of a running pod needs the level that it needs for a repair.
    let replicas = action.origin == Origin::Forecast && action.kind != ActionKind::ResizePod;
    let mode = if replicas { sized(action.kind, tenant, control, mode) } else { mode };
    if matches!(action.asks, Asks::Always(_)) { mode.min(Mode::Approve) } else { mode }
}

/// A size by forecast is what the Workload asks for with mode Auto, within its bounds and reversible: both directions run
/// alone from `ActBounded` on.
fn sized(kind: ActionKind, tenant: &TenantPolicy, control: &ControlPolicy, mode: Mode) -> Mode {
    let level = tenant.level(kind).min(control.ceiling);
    if level >= Level::ActBounded { Mode::Act } else { mode }
}

/// Actions on nodes belong to the reserved platform tenant; tenants with pods on the node can stop them.
fn node(input: &GuardInput, tenant: &TenantPolicy) -> Option<Ruling> {
    if &*tenant.name.0 != PLATFORM_TENANT {
        return Some(Ruling::refused(
            format!("tenant {}", tenant.name),
            format!("tenant {PLATFORM_TENANT}"),
            "only the platform tenant may act on nodes",
        ));
    }
    input.neighbours.iter().find(|neighbour| neighbour.paused_at(input.now)).map(|neighbour| {
        Ruling::refused(
            format!("tenant {} paused", neighbour.name),
            "not paused",
            format!("tenant {} has pods on the node, and a person paused automation for it", neighbour.name),
        )
    })
}

/// The workload is known, belongs to the tenant, and its people let it be acted on.
fn workload(input: &GuardInput, tenant: &TenantPolicy) -> Option<Ruling> {
    let action = &input.action;
    let Some(workload) = &input.workload else {
        return Some(Ruling::unknown(
            format!("workload {} is not known", action.workload),
            "without its Workload nothing is done; check that it exists and is valid",
        ));
    };
    if workload.key != action.workload {
        return Some(Ruling::unknown(
            "policies of somebody else",
            "the policies do not belong to this action",
        ));
    }
    if !tenant.namespaces.contains(&action.target.key.namespace) {
        return Some(foreign(&action.target.key.namespace, tenant));
    }
    if workload.paused {
        return Some(Ruling::refused(
            "workload paused",
            "not paused",
            "a person paused automation for this workload",
        ));
    }
    if let Some(until) = workload.do_not_touch_until.filter(|until| input.now < *until) {
        return Some(Ruling::refused(
            "do not touch",
            format!("until {until:.0}"),
            "a person asked to leave it alone",
        ));
    }
    let target = input.ownership.hands_off.as_deref();
    if let Some(why) = target.and_then(|text| crate::asking::hands_off(text, input.now)) {
        return Some(Ruling::refused("do not touch", "no annotation on the target", why));
    }
    // The Workload's own mode asks for a size and for the order of runs, no playbook.
    let by_playbook = action.origin == Origin::Incident;
    if by_playbook && !workload.playbooks.is_empty() && !workload.playbooks.contains(&action.playbook.name) {
        return Some(Ruling::refused(
            format!("playbook {}", action.playbook.name),
            "playbooks that the Workload lists",
            "add the playbook to the Workload's list to allow it",
        ));
    }
    None
}

fn foreign(namespace: &str, tenant: &TenantPolicy) -> Ruling {
    Ruling::refused(
        format!("namespace {namespace}"),
        format!("namespaces of tenant {}", tenant.name),
        format!("namespace {namespace} does not belong to tenant {}", tenant.name),
    )
}

pub(super) fn judge(input: &GuardInput) -> Ruling {
    let action = &input.action;
    let Some(tenant) = &input.tenant else {
        return Ruling::unknown(
            format!("tenant {} is not known", action.tenant),
            "without its Tenant nothing is done; check that it exists and is valid",
        );
    };
    if tenant.name != action.tenant {
        return Ruling::unknown("policies of somebody else", "the policies do not belong to this action");
    }
    if !tenant.namespaces.contains(&action.workload.namespace) {
        return foreign(&action.workload.namespace, tenant);
    }
    if tenant.paused {
        return Ruling::refused("tenant paused", "not paused", "a person paused automation for this tenant");
    }
    if let Some(until) = tenant.do_not_touch_until.filter(|until| input.now < *until) {
        return Ruling::refused(
            "tenant paused",
            format!("until {until:.0}"),
            "a person paused automation for this tenant until then",
        );
    }
    let stopped = if action.target.is_node() { node(input, tenant) } else { workload(input, tenant) };
    if let Some(ruling) = stopped {
        return ruling;
    }
    let level = tenant.level(action.kind);
    let observed = if level > input.control.ceiling {
        format!("{} (ceiling {})", level.name(), input.control.ceiling.name())
    } else {
        level.name().to_owned()
    };
    let needed = crate::actions::spec(action.kind).map_or_else(
        || "not implemented".to_owned(),
        |spec| format!("{} to act alone", spec.alone_at().name()),
    );
    match mode_of(action, tenant, &input.control) {
        Mode::Nothing => Ruling::refused(
            observed,
            needed,
            format!("the level allows no {}; raise it in the Tenant's automation list", action.kind),
        ),
        // A recommendation may be judged by the other guards too, but never reach an effect.
        Mode::Recommend if input.through >= GuardName::Intent => Ruling::refused(
            observed,
            needed,
            format!(
                "the level only allows to recommend {}; raise it in the Tenant's automation list",
                action.kind
            ),
        ),
        Mode::Recommend | Mode::Approve | Mode::Act => Ruling::passed(observed, needed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::testing::{first_refusal, input};
    use homeostat_knowledge::{Name, SignedDuration};

    fn level(case: &mut GuardInput, level: Level) {
        let tenant = case.tenant.as_mut().expect("the test input has a tenant");
        tenant.levels.insert(ActionKind::EvictPod, level);
    }

    #[test]
    fn levels_decide_how_far_it_goes() {
        let mut case = input();
        for (set, ceiling, expected) in [
            (Level::Observe, Level::ActFull, Mode::Nothing),
            (Level::Recommend, Level::ActFull, Mode::Recommend),
            (Level::Approve, Level::ActFull, Mode::Approve),
            (Level::ActBounded, Level::ActFull, Mode::Act),
            (Level::ActFull, Level::Approve, Mode::Approve),
            (Level::ActFull, Level::Observe, Mode::Nothing),
        ] {
            level(&mut case, set);
            case.control.ceiling = ceiling;
            let tenant = case.tenant.as_ref().expect("the test input has a tenant");
            assert_eq!(
                mode(ActionKind::EvictPod, tenant, &case.control),
                expected,
                "{set:?} under {ceiling:?}"
            );
        }
    }

    #[test]
    fn what_is_a_sequence_of_actions_is_never_done_as_one() {
        let mut case = input();
        let tenant = case.tenant.as_mut().expect("the test input has a tenant");
        tenant.levels.insert(ActionKind::Drain, Level::ActFull);
        case.control.ceiling = Level::ActFull;
        assert_eq!(mode(ActionKind::Drain, tenant, &case.control), Mode::Nothing);
    }

    #[test]
    fn a_size_by_forecast_runs_alone_from_act_bounded_on_and_not_below() {
        for (set, expected) in [
            (Level::Observe, Mode::Nothing),
            (Level::Recommend, Mode::Recommend),
            (Level::Approve, Mode::Approve),
            (Level::ActBounded, Mode::Act),
        ] {
            let mut case = input();
            case.action.kind = ActionKind::ScaleDown;
            case.action.origin = Origin::Forecast;
            let tenant = case.tenant.as_mut().expect("the test input has a tenant");
            tenant.levels.insert(ActionKind::ScaleDown, set);
            assert_eq!(mode_of(&case.action, tenant, &case.control), expected, "{set:?}");
        }
    }

    #[test]
    fn the_size_of_a_running_pod_needs_act_full_whoever_asks_for_it() {
        for (set, expected) in [
            (Level::Recommend, Mode::Recommend),
            (Level::ActBounded, Mode::Approve),
            (Level::ActFull, Mode::Act),
        ] {
            for origin in [Origin::Incident, Origin::Forecast] {
                let mut case = input();
                (case.action.kind, case.action.origin) = (ActionKind::ResizePod, origin);
                case.control.ceiling = Level::ActFull;
                let tenant = case.tenant.as_mut().expect("the test input has a tenant");
                tenant.levels.insert(ActionKind::ResizePod, set);
                assert_eq!(mode_of(&case.action, tenant, &case.control), expected, "{set:?} {origin:?}");
            }
        }
    }

    #[test]
    fn policies_of_somebody_else_and_lists_without_the_playbook_refuse() {
        let mut case = input();
        case.workload.as_mut().expect("workload").key.name = Name::from("another");
        assert_eq!(first_refusal(&case), Some(GuardName::Level));
        let mut case = input();
        case.tenant.as_mut().expect("tenant").name = homeostat_knowledge::TenantName::new("another");
        assert_eq!(first_refusal(&case), Some(GuardName::Level));
        let mut listed = input();
        let playbook = listed.action.playbook.name.clone();
        listed.workload.as_mut().expect("workload").playbooks.insert(playbook);
        assert_eq!(first_refusal(&listed), None, "the list names it");
    }

    #[test]
    fn a_recommendation_is_judged_but_never_reaches_an_effect() {
        let mut case = input();
        level(&mut case, Level::Recommend);
        case.through = GuardName::DryRun;
        assert_eq!(first_refusal(&case), None);
        case.through = GuardName::FreshRead;
        assert_eq!(first_refusal(&case), Some(GuardName::Level));
    }

    #[test]
    fn people_who_say_stop_are_obeyed_and_unknown_policies_refuse() {
        let stops: [fn(&mut GuardInput); 11] = [
            |case| case.tenant.as_mut().expect("tenant").paused = true,
            |case| case.workload.as_mut().expect("workload").paused = true,
            |case| {
                let later = case.now.checked_add(SignedDuration::from_secs(1)).expect("time");
                case.tenant.as_mut().expect("tenant").do_not_touch_until = Some(later);
            },
            |case| {
                let later = case.now.checked_add(SignedDuration::from_secs(1)).expect("time");
                case.workload.as_mut().expect("workload").do_not_touch_until = Some(later);
            },
            |case| {
                let later = case.now.checked_add(SignedDuration::from_secs(1)).expect("time");
                case.ownership.hands_off = Some(Name::from(later.to_string()));
            },
            |case| case.ownership.hands_off = Some(Name::from("next week")),
            |case| {
                case.workload.as_mut().expect("workload").playbooks.insert(Name::from("another"));
            },
            |case| case.tenant = None,
            |case| case.workload = None,
            |case| case.action.target.key.namespace = Name::from("somewhere-else"),
            |case| case.tenant.as_mut().expect("tenant").namespaces.clear(),
        ];
        for (index, stop) in stops.iter().enumerate() {
            let mut case = input();
            stop(&mut case);
            assert_eq!(first_refusal(&case), Some(GuardName::Level), "case {index}");
        }
        let mut over = input();
        over.workload.as_mut().expect("workload").do_not_touch_until = Some(over.now);
        over.tenant.as_mut().expect("tenant").do_not_touch_until = Some(over.now);
        over.ownership.hands_off = Some(Name::from(over.now.to_string()));
        assert_eq!(first_refusal(&over), None);
    }
}
