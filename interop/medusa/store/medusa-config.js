// How a store configures the locking module. In medusa-config.ts this is one of the
// modules, and the packages are "@medusajs/medusa/locking" and
// "@medusajs/medusa/locking-redis", which are these two.
export default [
  // snippet: module
  {
    resolve: "@medusajs/locking",
    options: {
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
