//! `hansho demo --auto`: a whole drill in one command, with its own proof.

use hansho_tests::hansho;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_demonstration_runs_to_its_end_and_every_law_held() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let demo = folder.path().join("demo").display().to_string();
    let report = hansho(&["demo", "--auto", "--members", "300", "--dir", &demo]).plainly().await.text();
    let (held, broken): (Vec<&str>, Vec<&str>) = report
        .lines()
        .filter(|line| line.starts_with("held ") || line.starts_with("BROKEN "))
        .partition(|line| line.starts_with("held "));
    assert!(broken.is_empty(), "{broken:#?}");
    for law in [1, 2, 3, 4, 5, 6, 7, 8, 10] {
        let number = law.to_string();
        let named = held.iter().any(|line| line.split_whitespace().nth(1) == Some(number.as_str()));
        assert!(named, "law {law} is not among {held:#?}");
    }
    assert!(report.contains("copies of replies sent to members: 0"), "{report}");
    assert!(report.contains("audience \"all\": 300 active members"), "{report}");
}
