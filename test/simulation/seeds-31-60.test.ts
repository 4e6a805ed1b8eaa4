import { seeds } from "./_seeds.ts";

seeds(31, 60);
