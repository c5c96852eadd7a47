// What a program does with openapi-fetch and the types that openapi-typescript has made of the document:
// `node follow.mts URL KEY IMAGE`, the image in base64. Run by test_clients.py, which has tsc check it
// first. Prints what it has got, as JSON.

import createClient from "openapi-fetch";
import type { paths } from "./schema.ts";

declare const process: { argv: string[] };

function got<T>(data: T | undefined, error: unknown): T {
  if (data === undefined) throw new Error(JSON.stringify(error));
  return data;
}

const [, , url, key, image] = process.argv as [string, string, string, string, string];
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } });

const mime_type = "image/png";
const seen = await client.POST("/v1/analyze", { body: { plugin: "looks", image, mime_type } });
const refused = await client.POST("/v1/analyze", { body: { plugin: "loks", image, mime_type } });

const made = await client.POST("/v1/jobs", {
  body: { plugin: "sample", payload: { progress: 0.5, n: 7 }, retries: 0 },
});
const path = { job_id: got(made.data, made.error).id };
const stream = await client.GET("/v1/jobs/{job_id}/events", { params: { path }, parseAs: "text" });
const ended = await client.GET("/v1/jobs/{job_id}", { params: { path } });
const result = await client.GET("/v1/jobs/{job_id}/result", { params: { path } });

console.log(
  JSON.stringify({
    seen: got(seen.data, seen.error).result,
    refused: refused.error?.detail.type,
    events: got(stream.data, stream.error)
      .split("\n")
      .filter((line) => line.startsWith("event")),
    status: got(ended.data, ended.error).status,
    result: got(result.data, result.error).result,
  }),
);
