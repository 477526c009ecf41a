// A producer and reader of Runstream with KafkaJS.
// Usage: kafkajs-client.mjs BOOTSTRAP_SERVERS IDEMPOTENCY_KEY REQUEST
import { Kafka } from "kafkajs";
import { client, consume, Follower, texts } from "./follow.mjs";

const [servers, idempotencyKey, request] = process.argv.slice(2);
const kafka = new Kafka(client(servers));

const producer = kafka.producer();
await producer.connect();
await producer.send({ topic: "execution.requests", messages: [{ value: request }] });
await producer.disconnect();

const follower = new Follower(idempotencyKey);
const headers = await consume(kafka, `kafkajs-${idempotencyKey}`, (message) =>
  follower.take(message.value.toString()) ? texts(message.headers) : undefined,
);
console.log(JSON.stringify({ execution_id: follower.executionId, types: follower.types, headers }));
