import type { Dashboard } from '../model.js';
import { database } from './database.js';
import { overview } from './overview.js';
import { pipeline } from './pipeline.js';
import { requestSummary, serviceObservability } from './request-summary.js';
import { runtime } from './runtime.js';
import { service } from './service.js';
import { sloDetail, sloList } from './slo.js';

export const dashboards: Dashboard[] = [
  overview, service, database, runtime, pipeline, sloList, sloDetail, requestSummary, serviceObservability,
];
