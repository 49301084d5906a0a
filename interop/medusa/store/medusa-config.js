// How a store configures the locking module. In medusa-config.ts this is one of the
// modules, and the packages are "@medusajs/medusa/locking" and
// "@medusajs/medusa/locking-redis", which are these two.
export default [
  // snippet: module
  {
    resolve: "@medusajs/locking",
    options: {
      // In 2.21 this counts here, not among the provider's own options; undefined is 1000 ms.
      maximumRetryInterval: process.env.LOCKING_MAXIMUM_RETRY_INTERVAL,
      providers: [
        {
          resolve: "@medusajs/locking-redis",
          id: "locking-redis",
          is_default: true,
          options: {
            redisUrl: process.env.LOCKING_REDIS_URL,
            namespace: process.env.LOCKING_NAMESPACE, // undefined is "medusa_lock:"
          },
        },
      ],
    },
  },
  // snippet: end
]
