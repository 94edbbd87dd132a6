//! For CI: JUnit's XML, one test case a picture.

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use crate::compare::Report;

/// The report as XML.
///
/// # Errors
/// If a name cannot be written as XML.
pub fn xml(report: &Report) -> Result<String, quick_junit::SerializeError> {
    let mut suite = TestSuite::new("actviz compare");
    for picture in &report.pictures {
        let mut status = TestCaseStatus::success();
        if picture.fails {
            status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type(picture.outcome.to_string());
            status.set_message(picture.reasons.join("; "));
        }
        let mut case = TestCase::new(picture.file.as_str(), status);
        case.set_classname(picture.layer.clone().unwrap_or_else(|| "picture".to_owned()));
        suite.add_test_case(case);
    }
    // What fails without a picture of its own.
    for note in report.notes.iter().filter(|note| note.fails) {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(note.text.as_str());
        suite.add_test_case(TestCase::new(format!("{}: {}", note.about, note.text), status));
    }
    let mut junit = Junit::new("actviz compare");
    junit.add_test_suite(suite);
    junit.to_string()
}
