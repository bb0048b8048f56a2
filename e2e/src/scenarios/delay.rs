//! A delay between a service and its callers, for kernels without `netem`: a proxy inside the network namespace of the
//! callee's pod, and the rules that lead its callers there. Both live and end together, and with the pod at the latest.
//!
//! Only what comes in from other pods to one port is led there. What the proxy itself sends comes from inside, and what
//! the node sends is spared, so that probes stay good.

mod line;

use std::fmt;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::truth::At;

/// A pod's interface.
const INTERFACE: &str = "eth0";

/// Why calls are not delayed.
#[derive(Debug, thiserror::Error)]
pub enum DelayError {
    /// The operating system refused.
    #[error("cannot {action}: {source}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A rule of the pod's network was refused.
    #[error("`iptables {rule}` failed, is it on PATH, and this the network of a pod? {output}")]
    Rule {
        /// The rule.
        rule: String,
        /// What iptables said.
        output: String,
    },
}

/// Arguments of `e2e delay`.
#[derive(Args, Clone, Debug)]
pub struct DelayArgs {
    /// Calls to this port are late
    #[arg(long)]
    pub port: u16,
    /// Whose calls are not: the node's
    #[arg(long)]
    pub except: Ipv4Addr,
    /// By how much, each way
    #[arg(long)]
    pub milliseconds: u64,
    /// It ends after so many seconds in any case
    #[arg(long)]
    pub seconds: u64,
}

/// Delays calls until standard input ends, a signal comes or the time is over; then takes back what it changed.
///
/// Prints when it began, in microseconds since the Unix epoch, once calls are late.
///
/// # Errors
/// The proxy or a rule could not be put there, or not be taken back.
pub async fn run(args: &DelayArgs) -> Result<(), DelayError> {
    let failed = |action| move |source| DelayError::System { action, source };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed("wait for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed("wait for SIGINT"))?;
    let listener =
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.map_err(failed("listen in the pod's network"))?;
    let own = listener.local_addr().map_err(failed("look at the own port"))?.port();
    let rules = rules(args, own);
    let at = At::now();
    if let Err(error) = rules.iter().try_for_each(Rule::put_on) {
        // Those before it; the one that failed is not there to be taken off.
        let _why_it_failed_is_told = take_off(&rules);
        return Err(error);
    }
    // Where nobody reads it any more, standard input has ended too.
    let _nobody_reads = writeln!(io::stdout(), "{}", at.0);
    let callee = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    tokio::select! {
        () = line::serve(&listener, callee, Duration::from_millis(args.milliseconds)) => {}
        () = tokio::time::sleep(Duration::from_secs(args.seconds)) => {}
        _ = input_ends() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    take_off(&rules)
}

/// Told when nobody holds the other end of standard input any more. A thread of its own: a runtime would wait for it.
fn input_ends() -> oneshot::Receiver<()> {
    let (ended, told) = oneshot::channel();
    std::thread::spawn(move || {
        // An input that cannot be read has ended as well.
        let _ended = io::copy(&mut io::stdin(), &mut io::sink());
        let _nobody_waits = ended.send(());
    });
    told
}

/// One rule of the pod's network.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    table: &'static str,
    chain: &'static str,
    text: String,
}

/// What leads callers to `own`, the proxy's port, and then cuts what they have open past it: connections of HTTP/1.1 and
/// HTTP/2 are kept, and only new ones are led anywhere. Open ones still arrive at the old port, and none of the others does.
fn rules(args: &DelayArgs, own: u16) -> [Rule; 2] {
    let callers = format!("-i {INTERFACE} -p tcp --dport {} ! -s {}", args.port, args.except);
    let rule = |table, chain, does: &str| Rule { table, chain, text: format!("{callers} {does}") };
    [
        rule("nat", "PREROUTING", &format!("-j REDIRECT --to-ports {own}")),
        rule("filter", "INPUT", "-j REJECT --reject-with tcp-reset"),
    ]
}

/// Takes the rules off, the last one first, and none is left out because of another one.
fn take_off(rules: &[Rule]) -> Result<(), DelayError> {
    rules.iter().rev().map(Rule::take_off).fold(Ok(()), Result::and)
}

impl Rule {
    fn put_on(&self) -> Result<(), DelayError> {
        self.apply("-A")
    }

    fn take_off(&self) -> Result<(), DelayError> {
        self.apply("-D")
    }

    fn apply(&self, how: &str) -> Result<(), DelayError> {
        let line = format!("-w 5 -t {} {how} {} {}", self.table, self.chain, self.text);
        let failed = |output: &dyn fmt::Display| DelayError::Rule {
            rule: line.clone(),
            output: output.to_string().trim().to_owned(),
        };
        let output =
            Command::new("iptables").args(line.split(' ')).output().map_err(|error| failed(&error))?;
        if output.status.success() {
            return Ok(());
        }
        Err(failed(&String::from_utf8_lossy(&output.stderr)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_of_other_pods_to_the_port_are_led_away_and_cut() {
        let except = Ipv4Addr::new(10, 244, 0, 1);
        let args = DelayArgs { port: 8080, except, milliseconds: 2000, seconds: 300 };
        let [lead, cut] = rules(&args, 40_001);
        let callers = "-i eth0 -p tcp --dport 8080 ! -s 10.244.0.1";
        assert_eq!(
            (lead.table, lead.chain, lead.text),
            ("nat", "PREROUTING", format!("{callers} -j REDIRECT --to-ports 40001"))
        );
        assert_eq!(
            (cut.table, cut.chain, cut.text),
            ("filter", "INPUT", format!("{callers} -j REJECT --reject-with tcp-reset"))
        );
    }
}
