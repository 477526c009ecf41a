// A producer and reader of Runstream with KafkaJS.
// Usage: kafkajs-client.mjs BOOTSTRAP_SERVERS IDEMPOTENCY_KEY REQUEST
import { Kafka, logLevel } from "kafkajs";
import { consume, Follower, texts } from "./follow.mjs";

const [servers, idempotencyKey, request] = process.argv.slice(2);
const kafka = new Kafka({ brokers: servers.split(","), logLevel: logLevel.NOTHING });

const producer = kafka.producer();
await producer.connect();
await producer.send({ topic: "execution.requests", messages: [{ value: request }] });
await producer.disconnect();

const follower = new Follower(idempotencyKey);
const headers = await consume(kafka, `kafkajs-${idempotencyKey}`, (message) =>
  follower.take(message.value.toString()) ? texts(message.headers) : undefined,
);
console.log(JSON.stringify({ execution_id: follower.executionId, types: follower.types, headers }));
