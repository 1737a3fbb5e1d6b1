//! gossipsub's RPC in protobuf, by hand: what an honest library would never write.

use libp2p::PeerId;

use crate::sides::TOPIC;

pub fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number > 0x7f {
        out.push(number as u8 & 0x7f | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

pub fn bytes(number: u64, content: &[u8]) -> Vec<u8> {
    [&varint(number << 3 | 2)[..], &varint(content.len() as u64), content].concat()
}

pub fn integer(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

/// Fields of a message: number, content (empty for integers).
pub fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = read_varint(&mut message);
        let value = read_varint(&mut message);
        if tag & 7 == 2 {
            let (content, rest) = message.split_at(value as usize);
            found.push((tag >> 3, content.to_vec()));
            message = rest;
        } else {
            found.push((tag >> 3, Vec::new()));
        }
    }
    found
}

pub fn read_varint(from: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = from[0];
        *from = &from[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

pub fn subscribe() -> Vec<u8> {
    subscription(TOPIC)
}

pub fn subscription(topic: &str) -> Vec<u8> {
    bytes(1, &[integer(1, 1), bytes(2, topic.as_bytes())].concat())
}

pub fn control(content: &[u8]) -> Vec<u8> {
    bytes(3, content)
}

pub fn ihave(ids: &[Vec<u8>]) -> Vec<u8> {
    let ids: Vec<u8> = ids.iter().flat_map(|id| bytes(2, id)).collect();
    control(&bytes(1, &[bytes(1, TOPIC.as_bytes()), ids].concat()))
}

pub fn iwant(id: &[u8]) -> Vec<u8> {
    control(&bytes(2, &bytes(1, id)))
}

pub fn graft() -> Vec<u8> {
    control(&bytes(3, &bytes(1, TOPIC.as_bytes())))
}

pub fn prune(backoff_s: u64, exchanged: &[PeerId]) -> Vec<u8> {
    let peers: Vec<u8> = exchanged.iter().flat_map(|peer| bytes(2, &bytes(1, &peer.to_bytes()))).collect();
    control(&bytes(4, &[bytes(1, TOPIC.as_bytes()), peers, integer(3, backoff_s)].concat()))
}

pub fn publication(data: &[u8]) -> Vec<u8> {
    bytes(2, &[bytes(2, data), bytes(4, TOPIC.as_bytes())].concat())
}

pub fn idontwant(ids: &[Vec<u8>]) -> Vec<u8> {
    let ids: Vec<u8> = ids.iter().flat_map(|id| bytes(1, id)).collect();
    control(&bytes(5, &ids))
}

pub fn invented(count: usize, salt: u8) -> Vec<Vec<u8>> {
    (0..count).map(|number| [&[salt; 28][..], &(number as u32).to_be_bytes()].concat()).collect()
}

pub fn parts(rpc: &[u8], outer: u64, inner: u64) -> Vec<Vec<u8>> {
    let outer: Vec<_> = fields(rpc).into_iter().filter(|(number, _)| *number == outer).collect();
    outer
        .iter()
        .flat_map(|(_, part)| fields(part))
        .filter(|(number, _)| *number == inner)
        .map(|(_, part)| part)
        .collect()
}

/// The published messages in an RPC.
pub fn messages(rpc: &[u8]) -> Vec<Vec<u8>> {
    parts(rpc, 2, 2)
}

/// How many ids an RPC asks for.
pub fn asked(rpc: &[u8]) -> usize {
    parts(rpc, 3, 2).iter().map(|iwant| fields(iwant).len()).sum()
}
