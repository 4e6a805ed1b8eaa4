import { seeds } from "./_seeds.ts";

seeds(61, 80);
