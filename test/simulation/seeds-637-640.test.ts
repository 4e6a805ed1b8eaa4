import { seeds } from "./_seeds.ts";

seeds(637, 640);
