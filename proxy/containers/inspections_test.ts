import assert from "node:assert/strict";
import { settle } from "../../tests/support/fake_clock.ts";
import { Inspections } from "./inspections.ts";

/** Questions that the test answers. */
class Questions {
  readonly asked: { id: string; answer: PromiseWithResolvers<string> }[] = [];
  readonly inspections = new Inspections<string>((id) => {
    const answer = Promise.withResolvers<string>();
    this.asked.push({ id, answer });
    return answer.promise;
  });

  get ids(): string[] {
    return this.asked.map(({ id }) => id);
  }

  async answer(index: number, text: string): Promise<void> {
    this.asked[index]?.answer.resolve(text);
    await settle();
  }
}

Deno.test("ask() gives nobody the answer to a question from before", async () => {
  const questions = new Questions();
  const first = questions.inspections.ask("a", true);
  const second = questions.inspections.ask("a", true);
  await questions.answer(0, "old");
  await questions.answer(1, "new");
  assert.deepEqual([await first, await second], ["old", "new"]);
});

Deno.test("ask() asks once for all who wait", async () => {
  const questions = new Questions();
  const { inspections } = questions;
  const first = inspections.ask("a", true);
  const others = [1, 2, 3].map(() => inspections.ask("a", true));
  await questions.answer(0, "one");
  await questions.answer(1, "two");
  assert.deepEqual(await Promise.all([first, ...others]), [
    "one",
    ..."two two two".split(" "),
  ]);
  assert.equal(questions.asked.length, 2);
});

Deno.test("ask() asks few at once, clients' questions first", async () => {
  const questions = new Questions();
  const { inspections } = questions;
  for (let i = 0; i < 20; i++) void inspections.ask(`later${i}`, false);
  for (let i = 0; i < 30; i++) void inspections.ask(`urgent${i}`, true);
  assert.equal(questions.asked.length, 32);
  assert.equal(questions.ids[8], "urgent0");
  await questions.answer(0, "");
  assert.equal(questions.ids[32], "urgent24");
  assert.equal(questions.asked.length, 33);
});

Deno.test("ask() makes a question urgent that waits already", () => {
  const questions = new Questions();
  const { inspections } = questions;
  for (let i = 0; i < 20; i++) void inspections.ask(`${i}`, false);
  assert.equal(questions.asked.length, 8);
  void inspections.ask("19", true);
  assert.equal(questions.ids[8], "19");
});

Deno.test("ask() goes on after a question failed", async () => {
  const questions = new Questions();
  const failed = questions.inspections.ask("a", true);
  const next = questions.inspections.ask("a", true);
  questions.asked[0]?.answer.reject(new Error("no"));
  await assert.rejects(failed, /no/);
  await questions.answer(1, "yes");
  assert.equal(await next, "yes");
});

Deno.test("clear() gives up what was not asked yet", async () => {
  const questions = new Questions();
  const asked = questions.inspections.ask("a", true);
  const waiting = questions.inspections.ask("a", true);
  questions.inspections.clear(new Error("lost"));
  await assert.rejects(waiting, /lost/);
  await questions.answer(0, "yes");
  assert.equal(await asked, "yes");
  assert.equal(questions.asked.length, 1);
});
