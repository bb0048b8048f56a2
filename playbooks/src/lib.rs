//! Declarative remediation: parser, checker, shipped library.
