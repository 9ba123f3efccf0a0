// A run by @azure/core-lro, moved by its one setting, baseUrl; its sender adds the key. Prints the job's last answer.
import { createHttpPoller } from "@azure/core-lro";

const { BASE_URL, API_KEY, TARGET } = process.env;

// One exchange as the poller wants it. The service answers a poll with 200 and a status in the body; to the poller 202 means "not yet".
async function exchange(method, url) {
  const answer = await fetch(url, { method, headers: { "X-API-Key": API_KEY, Authorization: "Bearer own" } });
  const text = await answer.text();
  const body = text ? JSON.parse(text) : undefined;
  if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status} ${text}`);
  const running = body && ["NotStarted", "InProgress"].includes(body.status);
  const rawResponse = {
    statusCode: running ? 202 : answer.status, headers: Object.fromEntries(answer.headers), body, request: { method, url },
  };
  return { flatResponse: body, rawResponse };
}

const poller = createHttpPoller({
  // As a client of the service would: the service's own origin, which baseUrl takes the place of.
  sendInitialRequest: () => exchange("POST", new URL(TARGET, BASE_URL).href),
  sendPollRequest: (path) => exchange("GET", path),
}, { baseUrl: BASE_URL, intervalInMs: 200 });
const result = await poller.pollUntilDone();
console.log(JSON.stringify(result));
