// What the Node.js clients share: a message of the event topic becomes one event of the execution
// that answers a request, until its terminal event.
import { logLevel } from "kafkajs";

const TERMINAL = new Set(
  ["rejected", "completed", "partial", "failed", "cancelled", "timed_out"].map((end) => `execution.${end}`),
);

/** The options of a client; the login is in KAFKA_USERNAME and KAFKA_PASSWORD. */
export function client(servers) {
  const { KAFKA_USERNAME: username, KAFKA_PASSWORD: password } = process.env;
  return {
    brokers: servers.split(","),
    sasl: { mechanism: "scram-sha-256", username, password },
    logLevel: logLevel.NOTHING,
  };
}

export class Follower {
  executionId = null;
  types = [];

  constructor(idempotencyKey) {
    this.idempotencyKey = idempotencyKey;
  }

  /** Takes one record's value; true once the execution has ended with it. */
  take(value) {
    let event;
    try {
      event = JSON.parse(value);
    } catch {
      return false; // Not an event; the topic may hold what somebody put there.
    }
    if (event.type === "execution.accepted" && event.data.idempotency_key === this.idempotencyKey) {
      this.executionId = event.execution_id;
    }
    if (this.executionId === null || event.execution_id !== this.executionId) {
      return false;
    }
    this.types.push(event.type);
    return TERMINAL.has(event.type);
  }
}

/** Consumes topics from their beginning until `see` returns something; returns that. */
export async function consume(kafka, groupId, see, topics = ["execution.events"]) {
  const consumer = kafka.consumer({ groupId });
  await consumer.connect();
  await consumer.subscribe({ topics, fromBeginning: true });
  try {
    return await new Promise((resolve, reject) => {
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
      consumer
        .run({
          eachMessage: async ({ topic, message }) => {
            const found = see(message, topic);
            if (found !== undefined) {
              resolve(found);
            }
          },
        })
        .catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
}

/** Header values as text; KafkaJS gives them as buffers. */
export function texts(headers) {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.toString()]));
}
