// Runs the audits of graphql-http against the address given, and prints their results as JSON.
import { serverAudits } from 'graphql-http'

const audits = serverAudits({ url: process.argv[2] })
const results = await Promise.all(audits.map(({ fn }) => fn()))
console.log(JSON.stringify(results.map(({ id, name, status, reason }) => ({ id, name, status, reason }))))
