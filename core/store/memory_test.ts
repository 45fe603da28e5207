import { storeContract } from "../../tests/support/store_contract.ts";
import { createMemoryStore } from "./memory.ts";

storeContract("createMemoryStore()", async (use) => {
  await use(createMemoryStore());
});
