import { seeds } from "./_seeds.ts";

seeds(1, 30);
