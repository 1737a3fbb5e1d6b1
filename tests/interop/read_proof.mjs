// Verifies the proof of a fork with nothing but IPLD's libraries and Node's own Ed25519, and says what it proves.
//
//   node read_proof.mjs FILE

import { blocksOf, isSigned, require } from './envelopes.mjs'

const { roots, blocks } = await blocksOf(process.argv[2])
const take = link => {
  const block = blocks.get(link.toString())
  require(block !== undefined, `${link} is named and not there`)
  return block
}
const root = take(roots[0]).value
require(root.covm === 'fork' && root.records.length === 2 && blocks.size === 3, 'this is no proof of a fork')
const [one, other] = root.records.map(([header, publicKey, signature]) => {
  const { value, bytes } = take(header)
  require(isSigned(publicKey, bytes, signature), `${header} is not signed by who it says`)
  return { header, publicKey, value }
})
require(!one.header.equals(other.header), 'both are the same record')
require(Buffer.from(one.publicKey).equals(Buffer.from(other.publicKey)), 'they are of two authors')
for (const field of ['type', 'author', 'seq']) require(one.value[field] === other.value[field], `their ${field} differs`)
require(one.value.federation.equals(other.value.federation), 'their federation differs')
const [[number, nonce], [otherNumber, otherNonce]] = [one.value.incarnation, other.value.incarnation]
require(number === otherNumber && Buffer.from(nonce).equals(Buffer.from(otherNonce)), 'their log differs')
const { author, type, seq } = one.value
console.log(JSON.stringify({ author, type, seq, records: [one, other].map(({ header }) => header.toString()) }))
