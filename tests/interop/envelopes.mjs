// What an export and the proof of a fork have in common: blocks that are what their CIDs say, and signatures.

import { createReadStream } from 'node:fs'
import { createPublicKey, verify } from 'node:crypto'
import { CarBlockIterator } from '@ipld/car'
import * as dagCbor from '@ipld/dag-cbor'
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'

const DOMAIN = Buffer.from('covm-federation-v1')
const KIND = Buffer.from('/covm/record')
const ED25519_DER = Buffer.from('302a300506032b6570032100', 'hex')
const LIBP2P_ED25519 = Buffer.from('08011220', 'hex')

export function require (holds, what) {
  if (!holds) throw new Error(what)
}

function withLength (bytes) {
  const length = []
  let left = bytes.length
  for (; left > 0x7f; left >>>= 7) length.push((left & 0x7f) | 0x80)
  return Buffer.concat([Buffer.from([...length, left]), bytes])
}

export function isSigned (publicKey, payload, signature) {
  require(Buffer.from(publicKey.subarray(0, 4)).equals(LIBP2P_ED25519), 'the public key is no Ed25519 key of libp2p')
  const der = Buffer.concat([ED25519_DER, publicKey.subarray(4)])
  const key = createPublicKey({ key: der, format: 'der', type: 'spki' })
  const signed = Buffer.concat([DOMAIN, KIND, Buffer.from(payload)].map(withLength))
  return verify(null, signed, key, signature)
}

export async function blocksOf (file) {
  const reader = await CarBlockIterator.fromIterable(createReadStream(file))
  const blocks = new Map()
  for await (const { cid, bytes } of reader) {
    require(cid.code === dagCbor.code && cid.version === 1, `${cid} is not DAG-CBOR`)
    require(CID.createV1(dagCbor.code, await sha256.digest(bytes)).equals(cid), `${cid} is not the CID of its block`)
    const value = dagCbor.decode(bytes)
    require(Buffer.from(dagCbor.encode(value)).equals(Buffer.from(bytes)), `${cid} is not in canonical form`)
    blocks.set(cid.toString(), { cid, bytes, value })
  }
  return { roots: await reader.getRoots(), blocks }
}
