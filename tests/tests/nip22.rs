//! NIP-22: comments, found by their root (upper-case tags) and their parent (lower-case ones).

use mercato_tests::client::Client;
use mercato_tests::event::now_s;
use mercato_tests::relay::Shared;
use mercato_tests::{Draft, Keys};
use serde_json::json;

static RELAY: Shared = Shared::new();

#[tokio::test]
async fn a_comment_is_found_by_each_tag_of_its_root_and_parent_and_case_counts() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let (author, commenter) = (Keys::generate(), Keys::generate());
    let (pubkey, own) = (author.public_key().to_hex(), commenter.public_key().to_hex());
    let article = Draft::new(30_023).at(now_s() - 9).tag(["d", "a:b"]).sign(&author);
    let address = format!("30023:{pubkey}:a:b");
    let comment = Draft::new(1_111)
        .at(now_s() - 8)
        .tags(
            [["A", &address], ["E", &article.id], ["K", "30023"], ["P", &pubkey]]
                .map(|tag| tag.map(str::to_owned).to_vec()),
        )
        .tags(
            [["a", &address], ["e", &article.id], ["k", "30023"], ["p", &pubkey]]
                .map(|tag| tag.map(str::to_owned).to_vec()),
        )
        .sign(&commenter);
    let reply = Draft::new(1_111)
        .at(now_s() - 7)
        .tags(
            [["A", &address], ["E", &article.id], ["K", "30023"], ["P", &pubkey]]
                .map(|tag| tag.map(str::to_owned).to_vec()),
        )
        .tags([["e", &comment.id], ["k", "1111"], ["p", &own]].map(|tag| tag.map(str::to_owned).to_vec()))
        .sign(&commenter);
    let page = Draft::new(1_111)
        .tag(["I", "https://abc.example/1"])
        .tag(["K", "web"])
        .tag(["i", "https://abc.example/1"])
        .tag(["k", "web"])
        .sign(&commenter);
    for event in [&article, &comment, &reply, &page] {
        client.store(event).await?;
    }
    let (comment, reply, page) = (&*comment.id, &*reply.id, &*page.id);
    let cases = [
        (json!({"#A": [address]}), vec![reply, comment]),
        (json!({"#E": [article.id]}), vec![reply, comment]),
        (json!({"#K": ["30023"]}), vec![reply, comment]),
        (json!({"#P": [pubkey]}), vec![reply, comment]),
        (json!({"#a": [address]}), vec![comment]),
        (json!({"#e": [article.id]}), vec![comment]),
        (json!({"#e": [comment]}), vec![reply]),
        (json!({"#k": ["1111"], "#K": ["30023"]}), vec![reply]),
        (json!({"#p": [own]}), vec![reply]),
        (json!({"#I": ["https://abc.example/1"]}), vec![page]),
        (json!({"#i": ["https://abc.example/1"], "#K": ["web"]}), vec![page]),
        (json!({"#I": ["https://abc.example"]}), vec![]),
        (json!({"#K": ["WEB"]}), vec![]),
    ];
    for (mut filter, expected) in cases {
        filter["kinds"] = json!([1_111]);
        filter["authors"] = json!([own]);
        assert_eq!(client.query_ids([filter.clone()]).await?, expected, "{filter}");
        assert_eq!(client.count([filter.clone()]).await?, expected.len() as u64, "{filter}");
    }
    Ok(())
}
