// Reads an export as anybody would who has nothing but IPLD's libraries, and says what is in it.
//
//   node read_export.mjs FILE [COPY]
//
// Every block is hashed, decoded and encoded again; everything is found from the root by links alone; every signature is
// verified with Node's own Ed25519. COPY gets the same blocks in the order in which a walk from the root meets them, as
// other tools write them.

import { createReadStream, createWriteStream } from 'node:fs'
import { createPublicKey, verify } from 'node:crypto'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { CarBlockIterator, CarWriter } from '@ipld/car'
import * as dagCbor from '@ipld/dag-cbor'
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'

const DOMAIN = Buffer.from('covm-federation-v1')
const KIND = Buffer.from('/covm/record')
const ED25519_DER = Buffer.from('302a300506032b6570032100', 'hex')
const LIBP2P_ED25519 = Buffer.from('08011220', 'hex')

function require (holds, what) {
  if (!holds) throw new Error(what)
}

function withLength (bytes) {
  const length = []
  let left = bytes.length
  for (; left > 0x7f; left >>>= 7) length.push((left & 0x7f) | 0x80)
  return Buffer.concat([Buffer.from([...length, left]), bytes])
}

function isSigned (publicKey, payload, signature) {
  require(Buffer.from(publicKey.subarray(0, 4)).equals(LIBP2P_ED25519), 'the public key is no Ed25519 key of libp2p')
  const der = Buffer.concat([ED25519_DER, publicKey.subarray(4)])
  const key = createPublicKey({ key: der, format: 'der', type: 'spki' })
  const signed = Buffer.concat([DOMAIN, KIND, Buffer.from(payload)].map(withLength))
  return verify(null, signed, key, signature)
}

async function blocksOf (file) {
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

function taker (blocks, order) {
  return link => {
    const block = blocks.get(link.toString())
    require(block !== undefined, `${link} is named and not there`)
    if (!order.includes(block)) order.push(block)
    return block
  }
}

function read (roots, blocks) {
  const order = []
  const take = taker(blocks, order)
  require(roots.length === 1, 'there is not one root')
  const root = take(roots[0]).value
  const records = []
  const walk = link => {
    const { pages, records: lines } = take(link).value
    for (const page of pages ?? []) walk(page)
    for (const [header, publicKey, signature, body] of lines ?? []) {
      const { value, bytes } = take(header)
      require(isSigned(publicKey, bytes, signature), `${header} is not signed by who it says`)
      require(body === null || value.body.equals(body), `${header} names another body`)
      records.push({
        id: header.toString(),
        key: value.key,
        author: value.author,
        seq: value.seq,
        op: value.op,
        value: body === null ? null : take(body).value.value
      })
    }
  }
  walk(root.pages)
  require(order.length === blocks.size, 'there are blocks to which the root does not lead')
  return { said: { covm: root.covm, type: root.type, federation: root.federation.toString(), records }, order }
}

async function copy (root, order, file) {
  const { writer, out } = CarWriter.create([root])
  const written = pipeline(Readable.from(out), createWriteStream(file))
  for (const { cid, bytes } of order) await writer.put({ cid, bytes })
  await writer.close()
  await written
}

const [file, target] = process.argv.slice(2)
const { roots, blocks } = await blocksOf(file)
const { said, order } = read(roots, blocks)
if (target !== undefined) await copy(roots[0], order, target)
const asText = (_key, value) => typeof value === 'bigint' ? value.toString() : value
console.log(JSON.stringify({ root: roots[0].toString(), ...said }, asText))
