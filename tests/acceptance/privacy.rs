//! One person's data by the command line: taken out, erased, and the way back.

use hansho_tests::Society;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_person_is_taken_out_erased_and_readmitted() {
    let society = Society::of(3).await;
    let person = society.hansho(&["member", "show", "m0001"]).await.done()["member"].clone();
    let address = person["address"].as_str().expect("an address");

    let data = society.hansho(&["member", "export", "m0001"]).await.done();
    assert_eq!(data["member"]["address"], address);
    let file = society.path("m0001.json").display().to_string();
    let written = society.hansho(&["member", "export", "m0001", "--out", &file]).await.done();
    assert_eq!(written["file"], file);

    // A notice that waits for its signatures holds the person, and what is signed does not change.
    let notice = society.draft("exercise", "all", "訓練", "本文\n").await;
    assert_eq!(notice.preflight().await["ok"], true);
    let planned = society.hansho(&["member", "erase", "m0001"]).await.done();
    assert_eq!((&planned["asked"], &planned["waits_for"]), (&json!(false), &json!([notice.id()])));
    let data = society.hansho(&["member", "export", "m0001"]).await.done();
    assert_eq!(data["notices"][0]["fields"]["name"], person["name"], "as it was frozen");
    assert_eq!(data["mails"], json!([]));

    // Withdrawn, an erasure leaves what kept notices from the person before.
    let decided = async |arguments: &[&str]| {
        let call = [&["member", "suppress", "m0001"], arguments].concat();
        let told = society.hansho(&call).await.done();
        json!([told["done"], told["left"], told["suppressed"]])
    };
    assert_eq!(decided(&[]).await, json!(["suppressed", ["office"], "office"]));
    let _asked = society.hansho(&["member", "erase", "m0001", "--yes"]).await.done();
    let shown = society.hansho(&["member", "show", "m0001"]).await.done();
    assert_eq!(shown["suppressed"], "erasure");
    assert_eq!(decided(&["--lift"]).await, json!(["erasure-withdrawn", ["office"], "office"]));
    assert_eq!(decided(&["--lift"]).await, json!(["lifted", [], null]));
    assert_eq!(decided(&["--lift"]).await, json!(["nothing-to-lift", [], null]));
    let waiting = society.hansho(&["member", "erase", "m0001", "--yes"]).await.done();
    assert_eq!((&waiting["done"], &waiting["waits_for"]), (&json!(false), &json!([notice.id()])));
    assert_eq!(society.hansho(&["member", "show", "m0001"]).await.code, 0, "nothing is gone yet");

    let _cancelled = notice.cancel_by(&society.coordinator, "x").await.done();
    let erased = society.hansho(&["member", "erase", "m0001", "--yes"]).await.done();
    assert_eq!(erased["done"], true, "{erased}");
    let _gone = society.hansho(&["member", "show", "m0001"]).await.with_code(4);
    let verified = society.hansho(&["ledger", "verify"]).await.done();
    assert_eq!(verified["erased"], json!([{"broadcast": notice.id(), "rows": 1}]));
    assert_eq!(society.hansho(&["audit", "verify"]).await.done()["ok"], true);

    let back = ["member", "readmit", "m0001", "--address", address];
    assert_eq!(society.hansho(&back).await.done()["keys"], 2);
    assert_eq!(society.hansho(&back).await.done()["keys"], 0, "there is nothing left to readmit");
}
