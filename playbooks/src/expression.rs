//! Conditions in CEL. The `cel` crate has no evaluation budget, so everything that could make an expression
//! expensive is refused before it is ever evaluated: length, nesting, comprehensions, and every function
//! whose cost does not follow from the length of the text.

use cel::common::ast::{EntryExpr, Expr};
use cel::{Context, IdedExpr, Program, Value};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// Longest expression, bytes.
pub const MAXIMUM_LENGTH: usize = 512;
/// Deepest nesting of brackets, and of the parsed expression.
pub const MAXIMUM_DEPTH: usize = 24;
/// Comprehensions (`all`, `exists`, `map`, `filter`…) inside each other.
pub const MAXIMUM_COMPREHENSION_DEPTH: usize = 1;

/// Most steps that one evaluation may take in the worst case. A millisecond at most.
pub const MAXIMUM_COST: u64 = 10_000;
/// Elements that a list of facts has at most.
const LONGEST_LIST: u64 = 64;

/// Fields of each variable; an expression that names another one is refused when it is read.
const FIELDS: [(&str, &[&str]); 3] = [
    (
        "incident",
        &[
            "kind",
            "confidence",
            "ageSeconds",
            "state",
            "severity",
            "entityKind",
            "restarts",
            "usefulActions",
            "uselessRestarts",
            "kubeletBackOff",
            "outOfMemory",
            "outOfMemoryAgain",
            "reopenCount",
            "affected",
            "findings",
        ],
    ),
    (
        "workload",
        &[
            "name",
            "namespace",
            "targetKind",
            "archetype",
            "criticality",
            "replicas",
            "ready",
            "rollingOut",
            "surges",
            "pods",
            "maximumUselessRestarts",
            "newReleaseFails",
            "oldReleaseServes",
            "memoryMayGrow",
        ],
    ),
    ("tenant", &["name"]),
];

/// Functions that may be called; operators and macros come on top.
const FUNCTIONS: [&str; 7] = ["size", "contains", "startsWith", "endsWith", "int", "double", "string"];

/// Why an expression was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExpressionError {
    /// Empty text.
    #[error("the expression is empty: write a condition or leave the line out")]
    Empty,
    /// More than [`MAXIMUM_LENGTH`] bytes.
    #[error("the expression has {length} bytes, at most {MAXIMUM_LENGTH} are allowed")]
    TooLong {
        /// Bytes.
        length: usize,
    },
    /// Nested deeper than [`MAXIMUM_DEPTH`].
    #[error("the expression is nested deeper than {MAXIMUM_DEPTH} levels")]
    TooDeep,
    /// A comprehension inside another one: its cost would multiply.
    #[error("{found} comprehensions inside each other, at most {MAXIMUM_COMPREHENSION_DEPTH} is allowed")]
    Comprehensions {
        /// Depth found.
        found: usize,
    },
    /// Could take more than [`MAXIMUM_COST`] steps.
    #[error("the expression could take {cost} steps, at most {MAXIMUM_COST} are allowed: use shorter lists")]
    TooCostly {
        /// Steps in the worst case.
        cost: u64,
    },
    /// Not CEL.
    #[error("not a CEL expression at column {column}: {message}")]
    Syntax {
        /// Column within the expression, from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// A variable or field that does not exist.
    #[error("{name} does not exist; known are {known}")]
    Unknown {
        /// As written.
        name: String,
        /// What could have been written.
        known: String,
    },
    /// A function that is not allowed.
    #[error("function {name} is not allowed; allowed are {}", FUNCTIONS.join(", "))]
    Function {
        /// As written.
        name: String,
    },
}

/// A condition, compiled once.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    program: Arc<Program>,
}

/// What a condition said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Truth {
    /// True.
    Holds,
    /// False.
    DoesNotHold,
    /// Could not be evaluated or is not a boolean; counts as false. The reason is for people.
    Unusable(String),
}

impl Expression {
    /// Reads and compiles an expression, or says why it is refused.
    ///
    /// ```
    /// use homeostat_playbooks::{Expression, ExpressionError};
    /// assert!(Expression::compile("incident.restarts < 3 && !workload.rollingOut").is_ok());
    /// assert!(matches!(Expression::compile("incident.colour == 'red'"), Err(ExpressionError::Unknown { .. })));
    /// ```
    pub fn compile(text: &str) -> Result<Self, ExpressionError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ExpressionError::Empty);
        }
        if text.len() > MAXIMUM_LENGTH {
            return Err(ExpressionError::TooLong { length: text.len() });
        }
        // Before the recursive parser sees it. Brackets in strings count too: stricter, and still generous.
        if bracket_depth(text) > MAXIMUM_DEPTH {
            return Err(ExpressionError::TooDeep);
        }
        let program = Program::compile(text).map_err(|errors| {
            let first = errors.errors.first();
            ExpressionError::Syntax {
                column: first.map_or(0, |error| usize::try_from(error.pos.1).unwrap_or(0)),
                message: first.map_or_else(|| "not readable".to_owned(), |error| error.msg.clone()),
            }
        })?;
        Walk { bound: Vec::new() }.visit(program.expression(), 1, 0)?;
        let cost = cost(program.expression());
        if cost > MAXIMUM_COST {
            return Err(ExpressionError::TooCostly { cost });
        }
        Ok(Self { text: Arc::from(text), program: Arc::new(program) })
    }

    /// The expression as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Evaluates the condition. Never panics, never takes long: see the bounds of [`Expression::compile`].
    pub fn evaluate(&self, facts: &Facts) -> Truth {
        let mut context = Context::default();
        let variables = [
            ("incident", cel::to_value(&facts.incident)),
            ("workload", cel::to_value(&facts.workload)),
            ("tenant", cel::to_value(&facts.tenant)),
        ];
        for (name, value) in variables {
            match value {
                // An absent workload or tenant is an undeclared variable: the condition is unusable, not true.
                Ok(Value::Null) => {}
                Ok(value) => context.add_variable_from_value(name, value),
                Err(error) => return Truth::Unusable(format!("{name} could not be given to it: {error}")),
            }
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(true)) => Truth::Holds,
            Ok(Value::Bool(false)) => Truth::DoesNotHold,
            Ok(other) => Truth::Unusable(format!("its value is {}, not true or false", other.type_of())),
            Err(error) => Truth::Unusable(error.to_string()),
        }
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Expression({})", self.text)
    }
}

/// What a condition can ask about.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Facts {
    /// The incident and its first-ranked cause.
    pub incident: IncidentFacts,
    /// The workload that the incident is about, when it is about one.
    pub workload: Option<WorkloadFacts>,
    /// The tenant that owns the workload.
    pub tenant: Option<TenantFacts>,
}

/// `incident` in conditions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentFacts {
    /// Kind of the first-ranked cause, e.g. `Hung`.
    pub kind: String,
    /// How sure the findings behind it are, 0 to 1.
    pub confidence: f64,
    /// Seconds since the first bad sample or failed request.
    pub age_seconds: f64,
    /// `Open`, `Acting`, `Mitigated`…
    pub state: String,
    /// `Info`, `Warning` or `Critical`.
    pub severity: String,
    /// `Pod`, `Workload`, `Node`, `External`…: what the cause is.
    pub entity_kind: String,
    /// Restarts by the kubelet of the sick pod, or of all pods of the workload.
    pub restarts: i64,
    /// Actions for this incident that helped.
    pub useful_actions: i64,
    /// Evictions and rolling restarts for this incident that did not help.
    pub useless_restarts: i64,
    /// The kubelet waits, or will wait, before it starts a container of the workload.
    pub kubelet_back_off: bool,
    /// A container of the workload last ended because it reached its memory limit.
    pub out_of_memory: bool,
    /// It did so again, soon after a restart.
    pub out_of_memory_again: bool,
    /// Times that it came back after it was mitigated.
    pub reopen_count: i64,
    /// Workloads that suffer without being the cause.
    pub affected: i64,
    /// Kinds of its active findings, each once, at most 15.
    pub findings: Vec<String>,
}

/// `workload` in conditions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_excessive_bools, reason = "independent facts for conditions")]
pub struct WorkloadFacts {
    /// Name of the `Workload` object.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Kind of what it targets, e.g. `Deployment`.
    pub target_kind: String,
    /// `Service`, `Worker`, `Batch` or `Edge`.
    pub archetype: String,
    /// 0 to 1000, higher is more important.
    pub criticality: i64,
    /// Desired replicas.
    pub replicas: i64,
    /// Ready replicas.
    pub ready: i64,
    /// A rollout is under way.
    pub rolling_out: bool,
    /// Rolls out one more pod before it takes one away.
    pub surges: bool,
    /// Pods that exist.
    pub pods: i64,
    /// Restarts without success before people must take over.
    pub maximum_useless_restarts: i64,
    /// Pods of the newest release of a Deployment exist, none of them serves, and what is found is about one of them or about no
    /// pod.
    pub new_release_fails: bool,
    /// A pod of an older release serves.
    pub old_release_serves: bool,
    /// People set bounds for its memory, and a limit of it lies below the upper one.
    pub memory_may_grow: bool,
}

/// `tenant` in conditions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TenantFacts {
    /// Name.
    pub name: String,
}

fn bracket_depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for character in text.chars() {
        match character {
            '(' | '[' | '{' | '?' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Steps of one evaluation in the worst case: one for each part, and those of a comprehension once for each element
/// that its range can have.
fn cost(node: &IdedExpr) -> u64 {
    let sum = |parts: &mut dyn Iterator<Item = &IdedExpr>| {
        parts.fold(1_u64, |sum, part| sum.saturating_add(cost(part)))
    };
    match &node.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => 1,
        Expr::Select(select) => cost(&select.operand).saturating_add(1),
        Expr::Call(call) => sum(&mut call.target.as_deref().into_iter().chain(&call.args)),
        Expr::List(list) => sum(&mut list.elements.iter()),
        Expr::Map(map) => sum(&mut map.entries.iter().flat_map(|entry| parts(&entry.expr))),
        Expr::Struct(built) => sum(&mut built.entries.iter().flat_map(|entry| parts(&entry.expr))),
        Expr::Comprehension(inner) => {
            let elements = match &inner.iter_range.expr {
                Expr::List(list) => u64::try_from(list.elements.len()).unwrap_or(u64::MAX),
                Expr::Map(map) => u64::try_from(map.entries.len()).unwrap_or(u64::MAX),
                _ => LONGEST_LIST,
            };
            let each = sum(&mut [&inner.loop_cond, &inner.loop_step].into_iter());
            let once = sum(&mut [&inner.iter_range, &inner.accu_init, &inner.result].into_iter());
            once.saturating_add(each.saturating_mul(elements))
        }
    }
}

fn parts(entry: &EntryExpr) -> impl Iterator<Item = &IdedExpr> {
    let (first, second) = match entry {
        EntryExpr::StructField(field) => (&field.value, None),
        EntryExpr::MapEntry(pair) => (&pair.key, Some(&pair.value)),
    };
    std::iter::once(first).chain(second)
}

struct Walk {
    /// Variables that comprehensions bind.
    bound: Vec<String>,
}

impl Walk {
    fn visit(&mut self, node: &IdedExpr, depth: usize, comprehensions: usize) -> Result<(), ExpressionError> {
        if depth > MAXIMUM_DEPTH {
            return Err(ExpressionError::TooDeep);
        }
        let next = depth + 1;
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => {
                if let Expr::Ident(name) = &select.operand.expr
                    && let Some((_, fields)) = FIELDS.iter().find(|(variable, _)| variable == name)
                    && !fields.contains(&select.field.as_str())
                {
                    return Err(ExpressionError::Unknown {
                        name: format!("{name}.{}", select.field),
                        known: fields.join(", "),
                    });
                }
                self.visit(&select.operand, next, comprehensions)
            }
            Expr::Call(call) => {
                let operator = call.func_name.starts_with(|c: char| !c.is_ascii_alphabetic());
                if !operator && !FUNCTIONS.contains(&call.func_name.as_str()) {
                    return Err(ExpressionError::Function { name: call.func_name.clone() });
                }
                call.target
                    .as_deref()
                    .into_iter()
                    .chain(&call.args)
                    .try_for_each(|part| self.visit(part, next, comprehensions))
            }
            Expr::List(list) => {
                list.elements.iter().try_for_each(|element| self.visit(element, next, comprehensions))
            }
            Expr::Map(map) => self.entries(map.entries.iter().map(|entry| &entry.expr), next, comprehensions),
            Expr::Struct(built) => Err(ExpressionError::Unknown {
                name: built.type_name.clone(),
                known: "no types, only incident, workload and tenant".to_owned(),
            }),
            Expr::Comprehension(inner) => {
                let found = comprehensions + 1;
                if found > MAXIMUM_COMPREHENSION_DEPTH {
                    return Err(ExpressionError::Comprehensions { found });
                }
                // The range counts as inside: `a.map(…).map(…)` is refused too.
                self.visit(&inner.iter_range, next, found)?;
                let before = self.bound.len();
                self.bound.push(inner.iter_var.clone());
                self.bound.extend(inner.iter_var2.clone());
                self.bound.push(inner.accu_var.clone());
                for part in [&inner.accu_init, &inner.loop_cond, &inner.loop_step, &inner.result] {
                    self.visit(part, next, found)?;
                }
                self.bound.truncate(before);
                Ok(())
            }
        }
    }

    fn entries<'a>(
        &mut self,
        mut entries: impl Iterator<Item = &'a EntryExpr>,
        depth: usize,
        comprehensions: usize,
    ) -> Result<(), ExpressionError> {
        entries.try_for_each(|entry| match entry {
            EntryExpr::StructField(field) => self.visit(&field.value, depth, comprehensions),
            EntryExpr::MapEntry(pair) => {
                self.visit(&pair.key, depth, comprehensions)?;
                self.visit(&pair.value, depth, comprehensions)
            }
        })
    }

    fn variable(&self, name: &str) -> Result<(), ExpressionError> {
        if FIELDS.iter().any(|(variable, _)| *variable == name) || self.bound.iter().any(|own| own == name) {
            return Ok(());
        }
        Err(ExpressionError::Unknown {
            name: name.to_owned(),
            known: FIELDS.map(|(variable, _)| variable).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn facts() -> Facts {
        Facts {
            incident: IncidentFacts {
                kind: "Hung".to_owned(),
                confidence: 0.97,
                age_seconds: 12.5,
                restarts: 2,
                findings: vec!["Hung".to_owned(), "Slow".to_owned()],
                ..IncidentFacts::default()
            },
            workload: Some(WorkloadFacts { replicas: 3, ..WorkloadFacts::default() }),
            tenant: None,
        }
    }

    fn truth(text: &str) -> Truth {
        Expression::compile(text).expect(text).evaluate(&facts())
    }

    #[test]
    fn conditions_are_true_or_false() {
        for text in [
            "incident.kind == 'Hung'",
            "incident.confidence > 0.9 && incident.restarts < 3",
            "incident.ageSeconds > 12 && incident.ageSeconds < 13",
            "workload.replicas >= 2 && !workload.rollingOut",
            "incident.kind in ['Hung', 'Slow']",
            "incident.findings.exists(kind, kind == 'Slow')",
            "size(incident.findings) == 2",
        ] {
            assert_eq!(truth(text), Truth::Holds, "{text}");
        }
        assert_eq!(truth("incident.kubeletBackOff"), Truth::DoesNotHold);
    }

    #[test]
    fn what_is_not_a_boolean_or_fails_does_not_apply_and_says_why() {
        for (text, why) in [
            ("incident.restarts + 1", "int"),
            ("tenant.name == 'food'", "tenant"),
            ("incident.restarts / 0 == 1", "zero"),
            ("incident.findings[9] == 'x'", "9"),
        ] {
            match truth(text) {
                Truth::Unusable(reason) => assert!(reason.contains(why), "{text}: {reason}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn expensive_or_unknown_expressions_are_refused_before_they_run() {
        use ExpressionError as E;
        let error = |text: &str| Expression::compile(text).expect_err(text);
        assert_eq!(error("  "), E::Empty);
        assert!(matches!(error(&format!("'{}' == ''", "x".repeat(600))), E::TooLong { length: 608 }));
        assert_eq!(error(&format!("{}true{}", "(".repeat(240), ")".repeat(240))), E::TooDeep);
        assert_eq!(error(&format!("{}1 == 1", "1 == 1 ? 1 == 1 : ".repeat(26))), E::TooDeep);
        assert_eq!(error(&format!("0 {}", "+ 1 ".repeat(60))), E::TooDeep);
        assert!(matches!(
            error("incident.findings.all(a, incident.findings.all(b, a == b))"),
            E::Comprehensions { found: 2 }
        ));
        assert!(matches!(
            error("incident.findings.map(a, a).map(a, a).size() > 0"),
            E::Comprehensions { found: 2 }
        ));
        assert!(matches!(error("incident.kind.matches('(a+)+$')"), E::Function { .. }));
        assert!(matches!(error("incident.colour == 'red'"), E::Unknown { .. }));
        assert!(matches!(error("pod.name == 'x'"), E::Unknown { .. }));
        assert!(matches!(error("incident.kind == "), E::Syntax { .. }));
        for text in ["!".repeat(500), "-".repeat(500), "[".repeat(500), "a.".repeat(250), "\"\\".repeat(200)]
        {
            Expression::compile(&text).expect_err("nonsense is refused without a crash");
        }
    }

    #[test]
    fn the_known_fields_are_those_that_are_given() {
        let value = serde_json::to_value(Facts {
            workload: Some(WorkloadFacts::default()),
            tenant: Some(TenantFacts::default()),
            ..Facts::default()
        })
        .expect("plain data");
        for (variable, fields) in FIELDS {
            let given: BTreeSet<&str> =
                value[variable].as_object().expect("an object").keys().map(String::as_str).collect();
            assert_eq!(given, fields.iter().copied().collect(), "{variable}");
        }
    }

    #[test]
    fn the_costliest_allowed_expression_is_cheap() {
        let list = vec!["1"; 200].join(",");
        let text = format!("[{list}].all(x, x + x + x + x + x + x > 0 && incident.restarts > 0)");
        assert!(text.len() <= MAXIMUM_LENGTH);
        assert_eq!(truth(&text), Truth::Holds);
    }

    #[test]
    fn expressions_can_be_shared_between_threads() {
        fn shareable<T: Send + Sync>() {}
        shareable::<Expression>();
    }
}
