#[macro_use]
mod market_world;
use market_world::*;
use mercato::nostr::Event;
fn show(e:&Event){
  println!("```json\n{{\n  \"id\": \"{}\",\n  \"pubkey\": \"{}\",\n  \"created_at\": {},\n  \"kind\": {},\n  \"tags\": [", e.id,e.pubkey,e.created_at,e.kind);
  let t=e.tags(); let n=t.len();
  for (i,t) in t.iter().enumerate(){ let s:Vec<String>=t.iter().map(|v| serde_json::to_string(v).unwrap()).collect(); println!("    [{}]{}", s.join(", "), if i+1<n {","} else {""}); }
  println!("  ],\n  \"content\": {},\n  \"sig\": \"{}\"\n}}\n```", serde_json::to_string(&e.content()).unwrap(), const_hex::encode(e.signature));
}
#[test]
fn exchange(){
  let mut w=World::new();
  let now=w.now_s();
  let ad=|w:&World,who:u8,d:&str,price:u64,vram:u64| Event::sign(&someone(who), w.now_s(), 31990, &tags!["d",d;"k",5050;"price",5050,price;"slots",2;"cap","model","llama-3-8b";"cap","vram_mb",vram], "{\"name\":\"Text engine\"}");
  let a=ad(&w,2,"text",20000,24576); println!("advert"); show(&a); w.publish(&a).unwrap(); w.connect(2);
  w.now_ms+=1000;
  let r=Event::sign(&someone(1), now+1, 5050, &tags!["i","What is a relay?","text";"bid",50000;"require","vram_mb",">=","16000";"timeout","run",120;"attempts",3], "");
  println!("request"); show(&r); w.publish(&r).unwrap(); for e in w.events.clone(){ show(&e) }
  let b=ad(&w,3,"text",30000,49152);w.publish(&b).unwrap(); w.connect(3);
  println!("10 s later"); w.wait_ms(10000); for e in w.events.clone(){ show(&e) }
  w.now_ms+=1000;
  let f=Event::sign(&someone(3), w.now_s(), 7000, &tags!["status","processing";"e",r.id;"p",pubkey(1);"lease",1], ""); println!("fb"); show(&f); w.publish(&f).unwrap(); for e in w.events.clone(){ show(&e) }
  w.now_ms+=4000;
  let f=Event::sign(&someone(3), w.now_s(), 6050, &tags!["e",r.id;"p",pubkey(1);"i","What is a relay?","text"], "A server that stores and forwards signed events."); println!("res"); show(&f); w.publish(&f).unwrap(); for e in w.events.clone(){ show(&e) }
  println!("{}", w.say(2,6050,tags!["e",r.id]).unwrap_err());
}
