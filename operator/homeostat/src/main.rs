//! The Homeostat binary.

use clap::{CommandFactory, Parser};
use homeostat::args::{Args, AuditCommand, Command, PlaybookCommand};
use homeostat::audit::{command, reconcile};
use homeostat::clock::SystemClock;
use homeostat::people::{PeopleError, decide, levels, pause, pending};
use homeostat::{install, release, replay, run, telemetry};
use homeostat_knowledge::{Clock, Timestamp};
use homeostat_situations::{Checked, CommandError};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "homeostat", &mut std::io::stdout());
            Ok(())
        }
        Command::Replay(args) if args.file.is_dir() => {
            finish(homeostat_situations::replay_folder(&args.file, args.out.as_deref(), args.all))
        }
        Command::Playbook { command: PlaybookCommand::Test { files, situations } } => {
            finish(homeostat_situations::test_playbooks(&files, situations.as_deref()))
        }
        Command::Replay(args) => replay::run(&args).map(|text| println!("{text}")).map_err(report),
        Command::InstallDefaults { file } => runtime(async { install::run(&file).await.map_err(report) }),
        Command::ReleaseHeld => runtime(async { release::run().await.map_err(report) }),
        Command::Pending(args) => say(async move { pending::run(&args, now()).await }),
        Command::Approve(args) => say(async move { decide::approve(&args, now()).await }),
        Command::Deny(args) => say(async move { decide::deny(&args, now()).await }),
        Command::Stop(args) => say(async move { homeostat::people::stop::stop(&args).await }),
        Command::Pause(args) => say(async move { pause::pause(&args, now()).await }),
        Command::Resume(args) => say(async move { pause::resume(&args, now()).await }),
        Command::Audit { command: AuditCommand::Export(args) } => {
            command::export(&args, &mut std::io::stdout().lock()).map_err(report)
        }
        Command::Audit { command: AuditCommand::Verify(args) } => {
            runtime(async { command::check(&args).await.map(|text| print!("{text}")).map_err(report) })
        }
        Command::Audit { command: AuditCommand::Match(args) } => {
            reconcile::run(&args).map(|text| print!("{text}")).map_err(report)
        }
        Command::Levels(args) => say(async move { levels::run(&args, now()).await }),
        Command::Run(args) => runtime(async {
            let telemetry = telemetry::init(&args.log).map_err(report)?;
            let result = run::run(*args).await.map_err(report);
            telemetry.shutdown();
            result
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("homeostat: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Prints what was found; what does not hold is an error.
fn finish(checked: Result<Checked, CommandError>) -> Result<(), String> {
    let checked = checked.map_err(report)?;
    print!("{}", checked.text);
    checked.failure.map_or(Ok(()), Err)
}

/// Does what a person asked for and prints the answer.
fn say(work: impl Future<Output = Result<String, PeopleError>>) -> Result<(), String> {
    runtime(async { work.await.map(|text| println!("{text}")).map_err(report) })
}

fn now() -> Timestamp {
    SystemClock.now()
}

/// Two workers are enough: the loop is one task, requests are few.
fn runtime(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    // The provider is process-wide; a second installation is refused, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime could not be started: {error}"))?
        .block_on(work)
}

/// The whole chain of an error on one line.
fn report(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let line = cause.to_string();
        // Some errors tell their cause themselves.
        if !text.contains(&line) {
            text.push_str(": ");
            text.push_str(&line);
        }
        source = cause.source();
    }
    text
}
