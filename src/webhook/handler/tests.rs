use super::*;
use crate::admission::tests as reviews;

/// A handler for which no namespace is known yet, and what tells it of them.
fn knowing_nobody() -> (Arc<Handler>, Arc<ArcSwap<View>>, watch::Sender<()>) {
    let view = Arc::new(ArcSwap::from_pointee(View::default()));
    let (news, heard) = watch::channel(());
    let metrics = WebhookMetrics::register(&mut crate::metrics::registry());
    let config = WebhookConfig { max_bytes: 0, max_body_bytes: reviews().len(), ..WebhookConfig::default() };
    (Handler::hearing(Arc::clone(&view), Some(heard), None, metrics, &config), view, news)
}

fn reviews() -> String {
    reviews::request("shop", reviews::pod()).to_string()
}

/// A request that holds room for itself.
async fn ask(handler: Arc<Handler>) -> &'static str {
    let (review, mut held) = (reviews(), handler.room.hold());
    held.take(review.len()).unwrap();
    handler.decide(review.as_bytes(), Instant::now(), &mut held).await.outcome.as_str()
}

#[tokio::test]
async fn a_request_that_waits_for_its_namespace_gives_its_room_to_one_that_needs_it() {
    let (handler, view, _news) = knowing_nobody();
    let waiting = tokio::spawn(ask(Arc::clone(&handler)));
    tokio::task::yield_now().await;
    assert_eq!(handler.waiting.available_permits(), MOST_WAITING - 1, "it waits");
    // There is room for one of them.
    view.store(Arc::new(reviews::view(Instant::now())));
    assert_eq!(ask(handler).await, "injected");
    assert_eq!(waiting.await.unwrap(), "skipped");
}

#[tokio::test]
async fn news_of_others_leave_a_request_waiting_and_those_of_its_own_namespace_end_that() {
    let (handler, view, news) = knowing_nobody();
    let waiting = tokio::spawn(ask(Arc::clone(&handler)));
    for _ in 0..3 {
        tokio::task::yield_now().await;
        news.send_replace(());
    }
    assert!(!waiting.is_finished());
    view.store(Arc::new(reviews::view(Instant::now())));
    news.send_replace(());
    assert_eq!(waiting.await.unwrap(), "injected");
}

#[tokio::test]
async fn no_more_than_so_many_wait_and_the_next_is_answered_by_what_is_known() {
    let (handler, _, _news) = knowing_nobody();
    let _others = handler.waiting.acquire_many(MOST_WAITING as u32).await.unwrap();
    let begin = Instant::now();
    assert_eq!(ask(Arc::clone(&handler)).await, "skipped");
    assert!(begin.elapsed() < NEW_NAMESPACE);
}
