//! Orders: approved once, refused for good reasons, never lost.

#![allow(clippy::disallowed_methods, reason = "tests wait on the real clock")]

mod common;

use common::App;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_order_reaches_every_service_and_is_approved() {
    let app = App::start("approved");
    assert_eq!(app.order("o-1").await, (201, json!({ "id": "o-1", "state": "APPROVED" })));
    let (_, order) = app.read("/orders/o-1").await;
    assert_eq!(order["state"], "APPROVED");
    assert_eq!(order["items"][0]["dish"], "paella");
    assert_eq!(app.read("/tickets/o-1").await.1["state"], "ACCEPTED");
    assert_eq!(app.read("/payments/o-1").await.1["state"], "AUTHORISED");
    assert_eq!(app.read("/notifications/o-1").await.1["consumer"], "c-7");
    assert_eq!(app.read("/consumers/c-7").await, (200, json!({ "id": "c-7", "limitCents": 50000 })));
    assert_eq!(app.read("/orders/nobody").await.0, 404);

    app.services["order"].wait_for_line(|line| line.starts_with("attempt ") && line.contains("notification"));
    let lines = app.services["order"].lines();
    let mut attempts = lines.iter().filter_map(|line| line.strip_prefix("attempt "));
    let first: Vec<_> = attempts.next().unwrap().split(' ').collect();
    let (start, end): (u64, u64) = (first[0].parse().unwrap(), first[1].parse().unwrap());
    assert!(start <= end && start > 1_700_000_000_000_000, "microseconds since 1970");
    assert_eq!(first[2..], ["order", "consumer", "200", "POST", "/consumers/{id}/checks"]);
    assert_eq!(attempts.count(), 3, "kitchen, accounting, notification once each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_twice_is_one_order() {
    let app = App::start("twice");
    let (first, second) = tokio::join!(app.order("o-1"), app.order("o-1"));
    assert_eq!(first, (201, json!({ "id": "o-1", "state": "APPROVED" })));
    assert_eq!(second, first);
    let payment = app.read("/payments/o-1").await;
    assert_eq!(app.order("o-1").await, first);
    assert_eq!(app.read("/payments/o-1").await, payment, "nothing is charged again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_orders_are_listed_once_page_by_page() {
    let app = App::start("listed");
    for key in ["a", "b", "c"] {
        app.order(key).await;
    }
    let page = async |after: &str| app.http.get(app.at("order"), &format!("/orders?limit=2{after}")).await.1;
    let first = page("").await;
    let second = page(&format!("&after={}", first["next"])).await;
    let ids = |page: &serde_json::Value| -> Vec<String> {
        page["orders"].as_array().unwrap().iter().map(|o| o["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!([ids(&first), ids(&second)].concat(), ["a", "b", "c"]);
    assert_eq!(second["next"], json!(null), "the last page says so");
    assert_eq!(first["orders"][0]["state"], "APPROVED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_told_with_a_reason_and_cancel_the_order() {
    let app = App::start("refused");
    let (status, answer) = app.try_order("dear", 60_000).await.unwrap();
    assert_eq!((status, &answer["state"]), (409, &json!("CANCELLED")));
    assert_eq!(answer["error"], "consumer refused: 60000 cents are above the limit of 50000");
    assert_eq!(app.try_order("dear", 60_000).await.unwrap(), (status, answer), "the first answer again");

    let unknown =
        json!({ "consumer": "c-1000", "amountCents": 1, "items": [{ "dish": "soup", "quantity": 1 }] });
    let gateway = app.at("gateway");
    let sent = app.http.send(hyper::Method::POST, gateway, "/orders", Some("unknown"), &unknown).await;
    let (status, answer) = sent.unwrap();
    assert_eq!((status, &answer["error"]), (409, &json!("consumer refused: there is no consumer c-1000")));

    let (status, answer) = app.try_order("declined", 45_000).await.unwrap();
    assert_eq!((status, &answer["error"]), (409, &json!("accounting refused: payment declined is declined")));
    app.read_until("/tickets/declined", |ticket| ticket["state"] == "CANCELLED").await;

    let (status, answer) = app
        .http
        .send(hyper::Method::POST, app.at("gateway"), "/orders", None, &json!({ "consumer": "c-1" }))
        .await
        .unwrap();
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().contains("Idempotency-Key"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_kitchen_fails_orders_in_time_and_nothing_is_left_behind() {
    let mut app = App::start("kitchen");
    assert_eq!(app.order("before").await.0, 201);
    app.process("kitchen").kill();
    let reason = app.failing_order("during").await;
    assert!(reason.starts_with("kitchen failed after"), "{reason}");
    let attempts = app.services["order"].lines();
    let refused =
        attempts.iter().filter(|line| line.contains(" order kitchen refused POST /tickets")).count();
    assert!(refused >= 3, "the kitchen was tried {refused} times");

    app.restart("kitchen");
    assert_eq!(app.order("after").await.0, 201);
    app.read_until("/tickets/during", |ticket| ticket["state"] == "CANCELLED").await;
    app.read_until("/payments/during", |payment| payment["state"] == "VOIDED").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_survives_a_kitchen_that_comes_back_within_the_deadline() {
    let mut app = App::start("back");
    assert_eq!(app.order("before").await.0, 201);
    app.process("kitchen").kill();
    let (http, gateway) = (app.http.clone(), app.at("gateway").to_owned());
    let waiting = tokio::spawn(async move {
        let body =
            json!({ "consumer": "c-7", "amountCents": 900, "items": [{ "dish": "soup", "quantity": 1 }] });
        http.send(hyper::Method::POST, &gateway, "/orders", Some("during"), &body).await
    });
    app.services["order"].wait_for_line(|line| line.contains(" order kitchen refused "));
    app.restart("kitchen");
    assert_eq!(waiting.await.unwrap().unwrap(), (201, json!({ "id": "during", "state": "APPROVED" })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_order_is_lost_when_order_is_killed() {
    let mut app = App::start("durable");
    let (http, gateway) = (app.http.clone(), app.at("gateway").to_owned());
    let acknowledged = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let loading: Vec<_> = (0..8)
        .map(|user| {
            let (http, gateway, acknowledged) = (http.clone(), gateway.clone(), acknowledged.clone());
            tokio::spawn(async move {
                for number in 0..25 {
                    let key = format!("u{user}-{number}");
                    let body =
                        json!({ "consumer": "c-1", "amountCents": 500, "items": [{ "dish": "soup", "quantity": 1 }] });
                    let sent = http.send(hyper::Method::POST, &gateway, "/orders", Some(&key), &body).await;
                    if matches!(sent, Ok((201, _))) {
                        acknowledged.lock().unwrap().push(key);
                    }
                }
            })
        })
        .collect();
    for enough in [40, 100] {
        while acknowledged.lock().unwrap().len() < enough {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        app.process("order").kill();
        app.restart("order");
    }
    for user in loading {
        user.await.unwrap();
    }
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() >= 190, "retries hide most of it: {} of 200", acknowledged.len());
    for key in acknowledged {
        let (status, order) = app.read(&format!("/orders/{key}")).await;
        assert_eq!((status, &order["state"]), (200, &json!("APPROVED")), "{key} was acknowledged");
    }
}
