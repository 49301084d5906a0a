package lockredis_test

// overSlots are the cases of the suite whose rules do not hold for keys that lie in several
// slots of a cluster, each with the reason. docs/topologies.md tells of them.
func overSlots() map[string]string {
	except := map[string]string{}
	for reason, names := range map[string][]string{
		"a ticket's keys must share a slot": {
			"CancelFreesTheClaimed", "CancelFreesTheOffer", "CancelLeavesTheQueue", "CancelRacesTheOffer",
			"CancelSparesTheJoined", "ClaimAfterTheWait", "ClaimIsRepeated", "ClaimOfAJoinedHold", "EnqueueClosesACircle",
			"EnqueueOfAnEarlierGeneration", "EnqueueRepeatsTheOffer", "FreeKeysAreOffered", "InspectWaiters",
			"TicketIsGivenUp", "TicketIsRevoked", "TicketJoins", "TicketPassesWhoWaitsForIt", "TicketWaits",
			"TicketWaitsAtWhatAWaiterIsFirst", "TicketWaitsForAll",
		},
		"what an owner holds in other slots does not count": {
			"EnclosedPassesWhoWaitsForEncloser", "EnclosingHoldersGoFirst", "FIFOWithinARank", "HolderPassesOverHolders",
			"HolderPassesOverQueues", "HolderPassesWhoWaitsForIt", "HoldersGoFirst", "HoldersPassAtAFreeKey",
		},
		"slots are taken one after the other: a request stands in the queues of one slot at a time": {
			"BusyIsTheFirstKey", "CancelledWaiterLetsOthersPass", "ChainIsNoCircle", "CloseLeavesTheQueue",
			"EarlierGenerationIsRevokedFirst", "EveryCircleIsFound",
			"FIFOOverManyKeys", "NoWaitDoesNotBarge", "NoWaitNamesTheHolder", "NobodyPassesWithoutNeed",
			"NobodyWaitsForItself", "QueuesMakeNoCircle", "RankPassesAtAFreeKey", "RevokedWaiterEnds",
			"TimedOutWaiterLetsOthersPass", "WaitingGenerationIsRevoked",
		},
		"what is joined in one slot is extended, by 30 s at most, before the next one is asked": {
			"FailureKeepsWhatWasHeld",
		},
	} {
		for _, name := range names {
			except[name] = reason
		}
	}
	return except
}
