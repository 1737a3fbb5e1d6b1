// Reads an export as anybody would who has nothing but IPLD's libraries, and says what is in it.
//
//   node read_export.mjs FILE [COPY]
//
// Every block is hashed, decoded and encoded again; everything is found from the root by links alone; every signature is
// verified with Node's own Ed25519. COPY gets the same blocks in the order in which a walk from the root meets them, as
// other tools write them.

import { createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { CarWriter } from '@ipld/car'
import { blocksOf, isSigned, require } from './envelopes.mjs'

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
