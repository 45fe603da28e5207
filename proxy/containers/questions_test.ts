import assert from "node:assert/strict";
import { settle } from "../../tests/support/fake_clock.ts";
import { Questions } from "./questions.ts";

/** Questions that the test answers. */
class Asked {
  readonly asked: { id: string; answer: PromiseWithResolvers<string> }[] = [];
  readonly questions = new Questions<string>((id) => {
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
  const asked = new Asked();
  const first = asked.questions.ask("a", true);
  const second = asked.questions.ask("a", true);
  await asked.answer(0, "old");
  await asked.answer(1, "new");
  assert.deepEqual([await first, await second], ["old", "new"]);
});

Deno.test("ask() asks once for all who wait", async () => {
  const asked = new Asked();
  const { questions } = asked;
  const first = questions.ask("a", true);
  const others = [1, 2, 3].map(() => questions.ask("a", true));
  await asked.answer(0, "one");
  await asked.answer(1, "two");
  assert.deepEqual(await Promise.all([first, ...others]), [
    "one",
    ..."two two two".split(" "),
  ]);
  assert.equal(asked.asked.length, 2);
});

Deno.test("ask() asks few at once, clients' questions first", async () => {
  const asked = new Asked();
  const { questions } = asked;
  for (let i = 0; i < 20; i++) void questions.ask(`later${i}`, false);
  for (let i = 0; i < 30; i++) void questions.ask(`urgent${i}`, true);
  assert.equal(asked.asked.length, 32);
  assert.equal(asked.ids[8], "urgent0");
  await asked.answer(0, "");
  assert.equal(asked.ids[32], "urgent24");
  assert.equal(asked.asked.length, 33);
});

Deno.test("ask() makes a question urgent that waits already", () => {
  const asked = new Asked();
  const { questions } = asked;
  for (let i = 0; i < 20; i++) void questions.ask(`${i}`, false);
  assert.equal(asked.asked.length, 8);
  void questions.ask("19", true);
  assert.equal(asked.ids[8], "19");
});

Deno.test("ask() goes on after a question failed", async () => {
  const asked = new Asked();
  const failed = asked.questions.ask("a", true);
  const next = asked.questions.ask("a", true);
  asked.asked[0]?.answer.reject(new Error("no"));
  await assert.rejects(failed, /no/);
  await asked.answer(1, "yes");
  assert.equal(await next, "yes");
});

Deno.test("clear() gives up what was not asked yet", async () => {
  const asked = new Asked();
  const first = asked.questions.ask("a", true);
  const waiting = asked.questions.ask("a", true);
  asked.questions.clear(new Error("lost"));
  await assert.rejects(waiting, /lost/);
  await asked.answer(0, "yes");
  assert.equal(await first, "yes");
  assert.equal(asked.asked.length, 1);
});
